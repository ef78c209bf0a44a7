"""The simulated stores keep the public contract of stores."""

import pytest

import SlyAPI.errors
import SlyAPI.stores
from SlyAPI.stores import TokenStore
from SlyAPI.testing.store_contract import KeptStoreContract, ServedStoreContract
from tests.simulation.stores import InRealTime, Shelf, make_store


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


class TestFileLikeStore(KeptStoreContract):
    @pytest.fixture
    def store(self, shelf: Shelf) -> TokenStore:
        return _store("file", shelf)

    @pytest.fixture
    def reopened(self, shelf: Shelf) -> TokenStore:
        return _store("file", shelf)


class TestLeasedStore(ServedStoreContract):
    @pytest.fixture
    def store(self, shelf: Shelf) -> TokenStore:
        return _store("leased", shelf)

    @pytest.fixture
    def reopened(self, shelf: Shelf) -> TokenStore:
        return _store("leased", shelf)


def _store(kind: str, shelf: Shelf) -> TokenStore:
    store: TokenStore = make_store(SlyAPI, kind, shelf, InRealTime(), lease=0.5)
    return store
