"""A store encrypted at rest: what cannot be read is told apart from what is not there, and is never overwritten."""
from __future__ import annotations

import json
import sys
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from SlyAPI import OAuth2User
from SlyAPI.errors import ConfigError, CredentialsNotFoundError, DecryptionError, MissingExtraError
from SlyAPI.stores import EncryptedStore, FileStore, MemoryStore, TokenStore

TOKENS = {"token": "token-5EC9E7", "refresh_token": "refresh-5EC9E7"}
OLD_KEY, NEW_KEY = EncryptedStore.new_key(), EncryptedStore.new_key()


@pytest.fixture
async def inner() -> TokenStore:
    """Holds alice, encrypted with the old key."""
    inner = MemoryStore()
    await EncryptedStore(inner, [OLD_KEY]).save("alice", TOKENS)
    return inner


async def held(store: TokenStore, name: str = "alice") -> str:
    return json.dumps(await store.load(name), sort_keys=True)


async def test_nothing_of_a_value_can_be_read_in_the_store(tmp_path: Path) -> None:
    await EncryptedStore(FileStore(tmp_path), [OLD_KEY]).save("alice", TOKENS)
    text = (tmp_path / "alice.json").read_text()
    assert "5EC9E7" not in text
    assert "token" not in text
    assert OLD_KEY not in text


async def test_the_same_value_looks_different_each_time(inner: TokenStore) -> None:
    before = await held(inner)
    await EncryptedStore(inner, [OLD_KEY]).save("alice", TOKENS)
    assert await held(inner) != before


async def test_the_first_key_encrypts_and_all_decrypt(inner: TokenStore) -> None:
    both = EncryptedStore(inner, [NEW_KEY, OLD_KEY])
    assert await both.load("alice") == TOKENS
    await both.replace("alice", TOKENS, {"token": "2"})
    assert await EncryptedStore(inner, [NEW_KEY]).load("alice") == {"token": "2"}


async def test_after_reencrypt_the_old_key_is_not_needed(inner: TokenStore) -> None:
    both = EncryptedStore(inner, [NEW_KEY, OLD_KEY])
    await both.save("bob", {"token": "b"})
    assert await both.reencrypt() == 1
    assert await both.reencrypt() == 0
    alone = EncryptedStore(inner, [NEW_KEY])
    assert (await alone.load("alice"), await alone.load("bob")) == (TOKENS, {"token": "b"})


class Busy(MemoryStore):
    """A store in which another program changes a user each time after it was loaded, as long as `changes` says how."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[Callable[[str], Awaitable[None]]] = []

    async def load(self, name: str) -> dict[str, Any]:
        value = await super().load(name)
        if self.changes:
            await self.changes.pop()(name)
        return value


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    "changes",
    [[how] * times for how in ("login with the old key", "login with the new key", "sign-out") for times in (1, 3)],
    ids=lambda changes: f"{changes[0]} {len(changes)}",
)
async def test_reencrypt_ends_with_the_first_key_alone_whatever_logins_change_meanwhile(
    changes: list[str], plain: bool
) -> None:
    inner, latest = Busy(), dict[str, dict[str, Any]]()
    for name in ("alice", "bob"):
        await EncryptedStore(inner, [OLD_KEY]).save(name, TOKENS)

    async def change(name: str, how: str) -> None:
        if how == "sign-out":
            latest.pop(name, None)
            return await inner.delete(name)
        pending, inner.changes = inner.changes, []
        latest[name] = {"token": f"login {len(pending)}"}
        await inner.delete(name)
        await EncryptedStore(inner, [OLD_KEY if "old" in how else NEW_KEY]).save(name, latest[name])
        inner.changes = pending

    latest |= {"alice": TOKENS, "bob": TOKENS}
    inner.changes = [lambda name, how=how: change(name, how) for how in changes]  # type: ignore[misc]
    await EncryptedStore(inner, [NEW_KEY, OLD_KEY]).reencrypt(plain=plain)
    alone = EncryptedStore(inner, [NEW_KEY])
    assert {name: await alone.load(name) for name in await inner.names()} == latest


async def test_what_was_not_encrypted_is_told_and_can_be_encrypted(inner: TokenStore) -> None:
    await inner.save("bob", TOKENS)
    store = EncryptedStore(inner, [OLD_KEY])
    for attempt in (store.load("bob"), store.save("bob", {}), store.reencrypt()):
        with pytest.raises(DecryptionError, match="not encrypted"):
            await attempt
    assert await store.reencrypt(plain=True) == 1
    assert await store.load("bob") == TOKENS


async def _another_key(inner: TokenStore) -> EncryptedStore:
    return EncryptedStore(inner, [NEW_KEY])


async def _changed(inner: TokenStore) -> EncryptedStore:
    value = await inner.load("alice")
    await inner.save("alice", {**value, "data": value["data"][:-8] + "AAAAAAA="})
    return EncryptedStore(inner, [OLD_KEY])


async def _no_base64(inner: TokenStore) -> EncryptedStore:
    await inner.save("alice", {**await inner.load("alice"), "nonce": ["?"]})
    return EncryptedStore(inner, [OLD_KEY])


async def _of_another_user(inner: TokenStore) -> EncryptedStore:
    store = EncryptedStore(inner, [OLD_KEY])
    await store.save("bob", {"token": "bob's"})
    await inner.save("alice", await inner.load("bob"))
    return store


async def _of_another_key(inner: TokenStore) -> EncryptedStore:
    store = EncryptedStore(inner, [OLD_KEY, NEW_KEY])
    other = MemoryStore()
    await EncryptedStore(other, [NEW_KEY]).save("alice", {})
    await inner.save("alice", {**await inner.load("alice"), "key": (await other.load("alice"))["key"]})
    return store


async def _of_a_later_version(inner: TokenStore) -> EncryptedStore:
    await inner.save("alice", {**await inner.load("alice"), "slyapi_encrypted": 2})
    return EncryptedStore(inner, [OLD_KEY])


async def _plain(inner: TokenStore) -> EncryptedStore:
    await inner.save("alice", TOKENS)
    return EncryptedStore(inner, [OLD_KEY])


UNREADABLE = [_another_key, _changed, _no_base64, _of_another_user, _of_another_key, _of_a_later_version, _plain]
Spoil = Callable[[TokenStore], Awaitable[EncryptedStore]]


@pytest.mark.parametrize("spoil", UNREADABLE)
async def test_what_cannot_be_read_is_an_error_that_shows_nothing_and_is_not_overwritten(
    inner: TokenStore, spoil: Spoil, told_by: Callable[[BaseException], str]
) -> None:
    store = await spoil(inner)
    before = await held(inner)
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: store.load("alice"),
        lambda: store.save("alice", {"token": "new"}),
        lambda: store.replace("alice", None, {"token": "new"}),
        lambda: store.replace("alice", dict(TOKENS), {"token": "new"}),
        lambda: store.user("alice").save(OAuth2User("new")),
    ]
    for call in calls:
        with pytest.raises(DecryptionError) as refused:
            await call()
        shown = told_by(refused.value)
        assert not [secret for secret in ("5EC9E7", OLD_KEY, NEW_KEY) if secret in shown.replace(repr(TOKENS), "")]
        assert "alice" in str(refused.value)
    assert await held(inner) == before
    await store.delete("alice")
    with pytest.raises(CredentialsNotFoundError):
        await store.load("alice")


@pytest.mark.parametrize("keys", [[], [""], ["5EC9E7"], [OLD_KEY, "5EC9E7" * 8], [OLD_KEY[:-4]], [None], ["ü" * 44]])
def test_text_that_is_no_key_is_refused_and_not_shown(keys: Any, told_by: Callable[[BaseException], str]) -> None:
    with pytest.raises(ConfigError) as refused:
        EncryptedStore(MemoryStore(), keys)
    assert "new_key" in refused.value.next_step
    assert "5EC9E7" not in told_by(refused.value)
    assert OLD_KEY not in told_by(refused.value)


def test_where_the_package_is_missing_no_key_is_shown(
    told_by: Callable[[BaseException], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(MissingExtraError) as refused:
        EncryptedStore(MemoryStore(), [OLD_KEY])
    told = told_by(refused.value)
    assert OLD_KEY not in told
    assert repr(urlsafe_b64decode(OLD_KEY))[2:-1] not in told


def test_a_key_is_random_and_may_have_a_line_break_behind_it() -> None:
    assert len({EncryptedStore.new_key() for _ in range(100)}) == 100
    EncryptedStore(MemoryStore(), [f"{OLD_KEY}\n"])
    assert OLD_KEY not in repr(EncryptedStore(MemoryStore(), OLD_KEY))
