"""Users encrypted at rest, in any store (the package cryptography, by the extra `[encrypted]`).

The rule: what cannot be decrypted is an error, and is never overwritten.
"""

import json
import secrets
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, suppress
from hashlib import sha256
from typing import Any

from ..errors import ConfigError, CredentialsNotFoundError, DecryptionError, MissingExtraError, printable
from ..web.masking import SecretJson, Secrets
from .contract import TokenStore, as_text, superseded

_KEY_BYTES, _NONCE_BYTES = 32, 12
_MEMBERS = {"slyapi_encrypted", "key", "nonce", "data"}


class EncryptedStore(TokenStore):
    """Keeps users in `store`, encrypted by AES-256-GCM under the first of `keys`; reads what any of them encrypted.

    A key is text that `new_key` made. The user's name is bound to the value, so that one user's cannot be put
    in another's place; the name itself stays readable in the store, as do the key's number and the size. To
    change the key: put a new one behind the old in every process; then in front of it; then call `reencrypt`;
    then drop the old one. Raises `DecryptionError` for what no key opens, what was changed, and what is not encrypted;
    neither `save` nor a refresh replaces that, only `delete` takes it away. Raises `ConfigError` for text
    that is no key, `MissingExtraError` without the package.
    """

    __module__ = "SlyAPI.stores"

    def __init__(self, store: TokenStore, keys: Iterable[str]) -> None:
        self.store = store
        given = Secrets([keys] if isinstance(keys, str) else keys)
        del keys  # so that no traceback shows them
        ciphers = _ciphers(_aead(), given)
        if ciphers is None:
            raise ConfigError(
                "That is no key for EncryptedStore, or there is none.", next_step="Make one: EncryptedStore.new_key()"
            )
        self._ciphers = ciphers

    def __repr__(self) -> str:
        return f"EncryptedStore({self.store!r})"

    @staticmethod
    def new_key() -> str:
        """A new key, fit for a file or an environment variable. Without it nothing can be read again."""
        return urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode()

    async def load(self, name: str) -> dict[str, Any]:
        """The value last saved."""
        return self._open(name, SecretJson(await self.store.load(name)))

    async def save(self, name: str, value: dict[str, Any]) -> None:
        """Encrypts and saves the value. Raises `DecryptionError` where one is that it could not read, `SaveError`."""
        with suppress(CredentialsNotFoundError):
            await self.load(name)
        await self.store.save(name, self._seal(name, value))

    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any]) -> None:
        """Encrypts and saves the value where `old` is there still. Raises as `save` does, and `SupersededError`."""
        sealed: dict[str, Any] | None = None
        now: dict[str, Any] | None = None
        with suppress(CredentialsNotFoundError):
            sealed = SecretJson(await self.store.load(name))
            now = self._open(name, sealed)
        if now == new:
            return
        if now != old:
            raise superseded(self, name)
        await self.store.replace(name, sealed, self._seal(name, new))

    async def reencrypt(self, *, plain: bool = False) -> int:
        """Encrypts anew what another key than the first encrypted; gives the number of users changed.

        With `plain` also what is not encrypted yet. Stops at the first user that it cannot read; may be
        called again, and while the users are in use.
        """
        changed = 0
        for name in await self.store.names():
            async with self.store.lock(name):
                try:
                    kept = SecretJson(await self.store.load(name))
                except CredentialsNotFoundError:
                    continue
                if kept.get("key") == self._ciphers.first and _is_sealed(kept):
                    continue
                value = kept if plain and not _is_sealed(kept) else self._open(name, kept)
                await self.store.replace(name, kept, self._seal(name, value))
                changed += 1
        return changed

    async def delete(self, name: str) -> None:
        """Forgets a user, readable or not."""
        await self.store.delete(name)

    async def names(self) -> list[str]:
        """The names of all users, readable or not."""
        return await self.store.names()

    def lock(self, name: str) -> AbstractAsyncContextManager[None]:
        """One user's lock, the inner store's."""
        return self.store.lock(name)

    async def close(self) -> None:
        """Closes the inner store."""
        await self.store.close()

    def _seal(self, name: str, value: dict[str, Any]) -> dict[str, Any]:
        key, nonce = self._ciphers.first, secrets.token_bytes(_NONCE_BYTES)
        data = self._ciphers.all[key].encrypt(nonce, as_text(self, value).encode(), _bound(key, name))
        return {"slyapi_encrypted": 1, "key": key, "nonce": b64encode(nonce).decode(), "data": b64encode(data).decode()}

    def _open(self, name: str, kept: dict[str, Any]) -> dict[str, Any]:
        whose = f"{self!r}: {printable(name, 80)!r}"
        if not _is_sealed(kept):
            raise DecryptionError(
                f"{whose} is not encrypted.", next_step="If that is right: await store.reencrypt(plain=True)"
            )
        key = str(kept["key"])
        if kept["slyapi_encrypted"] != 1 or key not in self._ciphers.all:
            raise DecryptionError(
                f"{whose} was encrypted with the key {printable(key, 20)}, which is not among those given.",
                next_step="Give the store that key too.",
            )
        value = self._ciphers.decrypt(key, kept, _bound(key, name))
        if value is None:
            raise DecryptionError(f"{whose} was changed, or put there from another name.", next_step="Grant again.")
        return value


class _Ciphers:
    """The keys in use by their numbers; prints none."""

    def __init__(self, aead: Any, keys: list[bytes]) -> None:
        self._aead = aead
        self.all = {_number(key): self._aead.AESGCM(key) for key in keys}
        self.first = next(iter(self.all))

    def decrypt(self, key: str, kept: dict[str, Any], bound: bytes) -> SecretJson | None:
        """None for what was changed."""
        try:
            nonce, data = (b64decode(kept[part], validate=True) for part in ("nonce", "data"))
            return SecretJson(json.loads(self.all[key].decrypt(nonce, data, bound)))
        except (ValueError, TypeError, self._aead.InvalidTag):
            return None


def _ciphers(aead: Any, texts: Secrets) -> _Ciphers | None:
    keys = [_key(text) for text in texts]
    good = [key for key in keys if key is not None]
    return _Ciphers(aead, good) if good and len(good) == len(keys) else None


def _is_sealed(kept: dict[str, Any]) -> bool:
    return kept.keys() >= _MEMBERS


def _bound(key: str, name: str) -> bytes:
    """What a value is valid for: changed, it does not open."""
    return f"SlyAPI user 1 {key} {name}".encode("utf-8", "surrogatepass")


def _number(key: bytes) -> str:
    """Tells keys apart, and nothing about them: 32 random bytes cannot be found by their hash."""
    return sha256(b"SlyAPI key number\0" + key).hexdigest()[:12]


def _key(text: str) -> bytes | None:
    try:
        key = urlsafe_b64decode(text.strip())
    except (ValueError, AttributeError):
        return None
    return key if len(key) == _KEY_BYTES else None


def _aead() -> Any:
    try:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers import aead
    except ImportError:
        raise MissingExtraError(
            "EncryptedStore needs the package cryptography.",
            next_step="Install it with: pip install 'SlyAPI[encrypted]'",
        ) from None
    return type("Aead", (), {"AESGCM": aead.AESGCM, "InvalidTag": InvalidTag})
