"""Keys (RFC 7517) and tokens signed with them (RFC 7515), by the package joserfc.

The rule: all cryptography is the library's. `signed_tokens` reads what others signed.
"""

import inspect
import json
import os
import re
from binascii import b2a_base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ...errors import ConfigError, MissingExtraError, printable
from ...json_file import StrPath, display_path, is_content, read_problem, read_regular
from ...web.json import present
from ...web.next_steps import install
from ...web.pem import key_problem
from ...web.secret_values import SecretJson

Sign = Callable[[bytes], bytes | Awaitable[bytes]]
KeyLike = StrPath | bytes | Mapping[str, Any] | Sign
"""A path, PEM text, a JWK as text or mapping, or a callable that signs, as a key in a KMS or HSM does."""

ASYMMETRIC = ("RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519")
"""The algorithms that we sign and accept with, in the order in which they are chosen."""
ALL = (*ASYMMETRIC, "HS256")

_BY_KIND = {
    ("RSA", ""): "RS256",
    ("EC", "P-256"): "ES256",
    ("EC", "P-384"): "ES384",
    ("OKP", "Ed25519"): "EdDSA",
}
_BASE64 = re.compile(r"[\w+=-][\w+/=\s-]{39,}", re.ASCII)
"""The body of a PEM file, or a secret, in the place of a path: not quoted."""
_SIZES = {"ES256": 32, "ES384": 48}
"""Bytes of each half of an ECDSA signature (RFC 7518 §3.4)."""


@dataclass(frozen=True, eq=False)
class SigningKey:
    """A private key to sign with: how, under which algorithm and key id, and the public half where it is known."""

    sign: Sign = field(repr=False)
    alg: str
    key_id: str | None = None
    public: Mapping[str, Any] | None = field(default=None, repr=False)

    @cached_property
    def proof_header(self) -> str:
        """The header of its DPoP proofs (RFC 9449 §4.2), encoded: the same for each of them."""
        return encoded({"typ": "dpop+jwt", "alg": self.alg, "jwk": public_members(self.public or {})})

    async def signed(self, header: str, claims: bytes) -> str:
        """The claims as a JWT (RFC 7515 §5.1), below an encoded header. Raises `ConfigError` for no signature."""
        signing_input = f"{header}.{base64url(claims)}"
        signature: Any = self.sign(signing_input.encode("ascii"))
        if type(signature) is not bytes:  # isawaitable is slow, and a key in this process gives bytes
            signature = await signature if inspect.isawaitable(signature) else signature
            if not isinstance(signature, bytes | bytearray | memoryview):
                raise _not_signed(self.alg)
        return f"{signing_input}.{base64url(_as_jose(bytes(signature), self.alg))}"


def load_signing_key(
    key: KeyLike, *, alg: str | None = None, key_id: str | None = None, rsa_alg: str = "RS256"
) -> SigningKey:
    """The key to sign with. `alg` is chosen by the kind of key where it is None; a callable needs it.

    `rsa_alg` is the algorithm that is chosen for an RSA key.

    Text that contains `-----BEGIN` is PEM, text that begins with `{` is a JWK, any other text is a path. Raises
    `ConfigError`, which quotes nothing of the key, and `MissingExtraError` without the package.
    """
    if alg is not None and alg not in ALL:
        raise ConfigError(f"key_alg may be one of {', '.join(ASYMMETRIC)}.")
    if callable(key):
        if alg is None:
            raise ConfigError("A key that is a callable needs key_alg.", next_step="Name it: key_alg='ES256'.")
        return SigningKey(key, alg, key_id)
    loaded = _load(_content(key), "" if isinstance(key, Mapping | bytes) or is_content(key) else display_path(key))
    kinds = _BY_KIND | {("RSA", ""): rsa_alg}
    chosen = alg or loaded.get("alg") or kinds.get((loaded.key_type, str(loaded.get("crv") or "")))
    if chosen not in ALL:
        raise ConfigError(
            f"The key works with none of {', '.join(ASYMMETRIC)}, by its kind or its own alg.",
            next_step="Use an EC key on P-256.",
        )
    algorithm = algorithm_of(chosen)
    try:
        algorithm.check_key(loaded)
        algorithm.sign(b"", loaded)  # the public half alone, or a key too short, is noticed now
    except Exception:
        problem = ConfigError(f"The key cannot sign with {chosen}.", next_step="Give the private key of that kind.")
    else:
        # by name: a JWK may have members of its own, and this half is published
        public = public_members(loaded.as_dict(private=False)) if loaded.key_type != "oct" else None
        return SigningKey(_signer(algorithm, loaded), chosen, key_id or loaded.kid, public)
    raise problem


def _signer(algorithm: Any, key: Any) -> Sign:
    """Signs with a key that was tried. ES256, in each DPoP proof, without joserfc's checks before every signature."""
    if algorithm.name != "ES256":
        return lambda data: algorithm.sign(data, key)
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    private, how = key.get_op_key("sign"), ECDSA(SHA256())

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(data, how))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return sign


def new_key(alg: str = "ES256") -> SecretJson:
    """A new private key, as a JWK."""
    jwk = library().jwk
    kinds = {made: kind for kind, made in _BY_KIND.items()} | {"PS256": ("RSA", ""), "Ed25519": ("OKP", "Ed25519")}
    kind, curve = kinds[alg]
    return SecretJson(jwk.generate_key(kind, curve or 2048, private=True).as_dict(private=True), alg=alg)


def thumbprint(key: Mapping[str, Any]) -> str:
    """The SHA-256 thumbprint of a public key (RFC 7638): of the members that its kind requires, and no others."""
    value: str = _load(public_members(key)).thumbprint()
    return value


def public_members(key: Mapping[str, Any]) -> dict[str, Any]:
    """The members that make a public key what it is (RFC 7638 §3.2): no private part, and no `kid`, `alg` or `use`."""
    return {name: key[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in key}


async def signed_jwt(claims: Mapping[str, Any], key: SigningKey, header: Mapping[str, Any] | None = None) -> str:
    """The claims as a signed JWT in compact form (RFC 7515 §3.1); `header` comes on top of `alg` and `kid`."""
    named = {"kid": key.key_id} if key.key_id else {}
    return await key.signed(encoded({"alg": key.alg, **named, **(header or {})}), _json(claims))


# --- joserfc ---

UNUSABLE = (ValueError, TypeError, AttributeError, LookupError)
"""Further errors of joserfc for a key that it cannot use; an unknown curve is a KeyError."""


def library() -> Any:
    """The package joserfc with the modules that are used here. Raises `MissingExtraError`."""
    try:
        import joserfc.errors
        import joserfc.jwk
        import joserfc.jws
        import joserfc.util

        return joserfc
    except ImportError:
        pass
    raise MissingExtraError("Signed tokens need the package joserfc.", next_step=install("jose", "joserfc"))


def algorithm_of(name: str) -> Any:
    # not by `get_alg`, which warns of the name EdDSA: RFC 9864 prefers Ed25519, and issuers still write the older one
    return library().jws.JWSRegistry.algorithms[name]


def _content(key: StrPath | bytes | Mapping[str, Any]) -> bytes | Mapping[str, Any]:
    """PEM or a JWK; a path is read."""
    if isinstance(key, Mapping | bytes):
        return key
    if is_content(key):
        return _pem_or_jwk(os.fsdecode(key).encode("utf-8", "replace"))
    try:
        content = read_regular(key)
    except (OSError, ValueError) as error:
        why = read_problem(error)
    else:
        return _pem_or_jwk(content)
    shown = "" if _BASE64.fullmatch(os.fsdecode(key)) else f" {display_path(key)}"
    raise ConfigError(f"The key file{shown} cannot be read ({printable(why, 80)}).")


def _pem_or_jwk(content: bytes) -> bytes | Mapping[str, Any]:
    if not content.lstrip().startswith(b"{"):
        return content
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = {}
    return value if isinstance(value, dict) else {}


_OPERATIONS = ("sign", "verify", "encrypt", "decrypt", "wrapKey", "unwrapKey", "deriveKey", "deriveBits")


def known_members(key: Mapping[str, Any]) -> dict[str, Any]:
    """A JWK without members that are null or empty, and without `key_ops` of tomorrow (RFC 7517 §4.3)."""
    members = present(key)
    if isinstance(operations := members.pop("key_ops", None), list):
        members |= {"key_ops": known} if (known := [name for name in operations if name in _OPERATIONS]) else {}
    return members


def _load(content: bytes | Mapping[str, Any], path: str = "") -> Any:
    """The key; `path` is its file, for messages. Raises `ConfigError`."""
    jwk, errors = library().jwk, library().errors
    try:
        if isinstance(content, Mapping):
            return jwk.import_key(known_members(content))
        for kind in ("EC", "RSA", "OKP"):
            try:
                return jwk.import_key(content, kind)
            except (errors.JoseError, *UNUSABLE):
                continue
    except (errors.JoseError, *UNUSABLE):
        pass
    named = f"The key file {path}" if path else "The key"
    if isinstance(content, bytes) and (problem := key_problem(content, path or "KEY.pem")):
        raise ConfigError(f"{named} {problem[0]}.", next_step=problem[1])
    raise ConfigError(
        f"{named} is not a private key in PEM or a JWK.",
        next_step="Make one with: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out KEY.pem",
    )


def _as_jose(signature: bytes, alg: str) -> bytes:
    """An ECDSA signature as r and s (RFC 7518 §3.4), where a callable gave it in DER, as KMS and OpenSSL do."""
    size = _SIZES.get(alg)
    if size is None or len(signature) == 2 * size:
        return signature
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    try:
        r, s = decode_dss_signature(signature)
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    except (ValueError, OverflowError):
        pass
    raise _not_signed(alg)


def _not_signed(alg: str) -> ConfigError:
    return ConfigError(f"The key's callable returned no signature of {alg}.", next_step="Return its bytes.")


def encoded(value: Mapping[str, Any]) -> str:
    """A header as a part of a JWT (RFC 7515 §3.1)."""
    return base64url(_json(value))


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def base64url(raw: bytes) -> str:
    """Without padding (RFC 7515 §2)."""
    return b2a_base64(raw, newline=False).translate(_URL_SAFE, b"=").decode("ascii")


_URL_SAFE = bytes.maketrans(b"+/", b"-_")
