"""Fixtures for stores between processes."""
from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from SlyAPI import OAuth2User
from SlyAPI.stores import StoredUser
from tests.support.other_process import PLACES, Spawn, entry_of, spawning


@pytest.fixture
async def spawn() -> AsyncGenerator[Spawn, None]:
    """Starts another process that has the same `entry`: `await spawn(program, kind, place)`."""
    async with spawning() as start:
        yield start


@pytest.fixture(params=["file", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of lock: on the user's own file (so does a folder of users), and on one beside the database."""
    return str(request.param)


@pytest.fixture
def place(kind: str, tmp_path: Path) -> Path:
    """Where a user of this kind lies."""
    return tmp_path / PLACES[kind]


@pytest.fixture
async def entry(kind: str, place: Path) -> StoredUser:
    """The user there, with tokens."""
    user = entry_of(kind, place)
    await user.save(OAuth2User("T", "R"))
    return user


@pytest.fixture
def prefix() -> str:
    """What no other test's users are under: a prefix for keys, a name for a table."""
    return f"test_{secrets.token_hex(6)}"
