"""Users encrypted at rest, in any store (the package cryptography).

The rule: a value that cannot be decrypted is an error, and is never overwritten.
"""

import json
import secrets
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncGenerator, Hashable, Iterable
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from hashlib import sha256
from typing import Any

from ..errors import (
    ConfigError,
    CredentialsNotFoundError,
    DecryptionError,
    MissingExtraError,
    SupersededError,
    clean_traceback,
    printable,
)
from ..web.next_steps import install
from ..web.secret_values import SecretJson, Secrets
from .contract import Lease, TokenStore, as_text, superseded
from .token_ends import UNKNOWN, Page, Token, ends_in_clear

_KEY_BYTES, _NONCE_BYTES = 32, 12
_TRIES = 10
"""How often `reencrypt` tries a user that logs in meanwhile."""
_MEMBERS = {"slyapi_encrypted", "key", "nonce", "data"}


class EncryptedStore(TokenStore):
    """Keeps users in `store`, encrypted by AES-256-GCM under the first of `keys`; reads what any of them encrypted.

    A key is text that `new_key` made. The user's name is bound to the value, so that a value cannot be moved to
    another user; names, key numbers, sizes, and when the tokens end stay readable in the store. To change the key:
    put a new one behind the old in every process; then in front of it; then call `reencrypt`; then drop the old one.
    Raises `DecryptionError` for a value that no key opens, that was changed, or that is not encrypted; only `delete`
    removes such a value. Raises `ConfigError` for text that is not a key, `MissingExtraError` without the package.
    """

    __module__ = "SlyAPI.stores"

    @clean_traceback
    def __init__(self, store: TokenStore, keys: Iterable[str]) -> None:
        self.store = store
        self._keys = Secrets([keys] if isinstance(keys, str) else keys)
        self._ciphers = _Ciphers([_key(text) for text in self._keys])

    def __repr__(self) -> str:
        return f"EncryptedStore({self.store!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.store, self._keys)

    @staticmethod
    def new_key() -> str:
        """A new key as text for a file or an environment variable. If it is lost, so are the users."""
        return urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode()

    @clean_traceback
    async def load(self, name: str) -> dict[str, Any]:
        """The value last saved."""
        return self._open(name, await self.store.load(name))

    @clean_traceback
    async def save(self, name: str, value: dict[str, Any]) -> None:
        """Encrypts and saves the value. Raises `SaveError`, and `DecryptionError` if the present one cannot be read."""
        with suppress(CredentialsNotFoundError):
            await self.load(name)
        await self.store.save(name, self._seal(name, value))

    @clean_traceback
    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        """Encrypts and saves the value if `old` is still stored. Raises as `save` does, and `SupersededError`."""
        sealed: dict[str, Any] | None = None
        now: dict[str, Any] | None = None
        with suppress(CredentialsNotFoundError):
            sealed = await self.store.load(name)
            now = self._open(name, sealed)
        if now not in (old, new):
            raise superseded(self, name)
        await self.store.replace(name, sealed, None if new is None else self._seal(name, new))

    @clean_traceback
    async def reencrypt(self, *, plain: bool = False) -> int:
        """Encrypts with the first key all that other keys encrypted; returns the number of users changed.

        With `plain` also what is not encrypted yet. Stops at the first user that it cannot read. Can be called again,
        and while the users are in use.
        """
        changed = 0
        async for name in self.store.each_name():
            async with self.store.lock(name):
                for tries_left in reversed(range(_TRIES)):
                    try:
                        changed += await self._reencrypted(name, plain)
                        break
                    except SupersededError:  # by a login, which takes no lock and may use the old key still
                        if not tries_left:
                            raise
        return changed

    async def _reencrypted(self, name: str, plain: bool) -> bool:
        """Encrypts a user with the first key; False if that is not needed. Raises `SupersededError`."""
        try:
            kept = await self.store.load(name)
        except CredentialsNotFoundError:
            return False
        value = kept if plain and not _is_sealed(kept) else self._open(name, kept)
        if kept.get("key") == self._ciphers.first and _is_sealed(kept):
            return False
        await self.store.replace(name, kept, self._seal(name, value))
        return True

    @clean_traceback
    async def each_name(self) -> AsyncGenerator[str, None]:
        """The names of all users, readable or not, as the inner store reads them."""
        async for name in self.store.each_name():
            yield name

    async def count(self) -> int:
        """The number of users, readable or not."""
        return await self.store.count()

    @clean_traceback
    async def ending(self, token: Token, before: float, after: float = UNKNOWN) -> AsyncGenerator[Page, None]:
        """Pages of the users whose token ends in that time, by the inner store's index."""
        async with aclosing(self.store.ending(token, before, after)) as pages:
            async for page in pages:
                yield [(name, self._opened(name, kept)) for name, kept in page]

    def _opened(self, name: str, kept: dict[str, Any] | None) -> dict[str, Any] | None:
        with suppress(DecryptionError):
            return None if kept is None else self._open(name, kept)
        return None

    async def delete(self, name: str) -> None:
        """Deletes a user, readable or not."""
        await self.store.delete(name)

    async def names(self) -> list[str]:
        """The names of all users, readable or not."""
        return await self.store.names()

    def entry_key(self, name: str) -> Hashable:
        """The inner store's."""
        return self.store.entry_key(name)

    def lock(self, name: str) -> AbstractAsyncContextManager[Lease | None]:
        """One user's lock, the inner store's."""
        return self.store.lock(name)

    def task_lock(self, task: str) -> AbstractAsyncContextManager[Lease | None]:
        """The inner store's."""
        return self.store.task_lock(task)

    async def close(self) -> None:
        """Closes the inner store."""
        await self.store.close()

    def _seal(self, name: str, value: dict[str, Any]) -> dict[str, Any]:
        key, nonce = self._ciphers.first, secrets.token_bytes(_NONCE_BYTES)
        data = self._ciphers.all[key].encrypt(nonce, as_text(self, value).encode(), _bound(key, name))
        texts = {"key": key, "nonce": b64encode(nonce).decode(), "data": b64encode(data).decode()}
        return {"slyapi_encrypted": 1, **texts, **ends_in_clear(value)}

    def _open(self, name: str, kept: dict[str, Any]) -> dict[str, Any]:
        whose = f"{self!r}: {printable(name, 80)!r}"
        if not _is_sealed(kept):
            raise DecryptionError(
                f"{whose} is not encrypted.", next_step="If that is intended: await store.reencrypt(plain=True)"
            )
        key = str(kept["key"])
        if kept["slyapi_encrypted"] != 1 or key not in self._ciphers.all:
            raise DecryptionError(
                f"{whose} was encrypted with the key {printable(key, 20)}, which is not among those given.",
                next_step="Give the store that key too.",
            )
        value = self._ciphers.decrypt(key, kept, _bound(key, name))
        if value is None:
            raise DecryptionError(f"{whose} was changed, or moved from another user.", next_step="Grant again.")
        return value


class _Ciphers:
    """The keys by their numbers. Raises `ConfigError` if there is none, or one that is not a key."""

    def __init__(self, keys: list[bytes | None]) -> None:
        cipher, self._invalid = _aead()
        if not keys or None in keys:
            raise ConfigError(
                "EncryptedStore needs a key, and each as new_key makes it.",
                next_step="Make one: EncryptedStore.new_key()",
            )
        self.all = {_number(key): cipher(key) for key in keys if key is not None}
        self.first = next(iter(self.all))

    def decrypt(self, key: str, kept: dict[str, Any], bound: bytes) -> SecretJson | None:
        """The value; None if it was changed."""
        try:
            nonce, data = (b64decode(kept[part], validate=True) for part in ("nonce", "data"))
            return SecretJson(json.loads(self.all[key].decrypt(nonce, data, bound)))
        except (ValueError, TypeError, self._invalid):
            return None


def _is_sealed(kept: dict[str, Any]) -> bool:
    return kept.keys() >= _MEMBERS


def _bound(key: str, name: str) -> bytes:
    """The associated data of a value: with another key or name it does not decrypt."""
    return f"SlyAPI user 1 {key} {name}".encode("utf-8", "surrogatepass")


def _number(key: bytes) -> str:
    """An identifier of a key; 32 random bytes cannot be found by their hash."""
    return sha256(b"SlyAPI key number\0" + key).hexdigest()[:12]


def _key(text: str) -> bytes | None:
    try:
        key = urlsafe_b64decode(text.strip())
    except (ValueError, AttributeError):
        return None
    return key if len(key) == _KEY_BYTES else None


def _aead() -> tuple[Any, type[Exception]]:
    """AES-GCM, and the error for what was changed."""
    try:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise MissingExtraError(
            "EncryptedStore needs the package cryptography.", next_step=install("encrypted", "cryptography")
        ) from None
    return AESGCM, InvalidTag
