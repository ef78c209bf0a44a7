"""JSON Web Signatures (RFC 7515) and keys (RFC 7517), by the package joserfc: the extra `[jose]`.

The rule: all cryptography is the library's. What is accepted is decided by the caller's list of algorithms and keys,
never by the header of a token; a header's `jku`, `jwk`, `x5u` and `x5c` are ignored.
"""

import inspect
import json
import os
import re
from binascii import b2a_base64
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from ..errors import ConfigError, IdentityError, MissingExtraError, printable
from ..json_file import StrPath, display_path, is_content
from ..web.secret_values import SecretJson

Sign = Callable[[bytes], bytes | Awaitable[bytes]]
KeyLike = StrPath | bytes | Mapping[str, Any] | Sign
"""A path, PEM text, a JWK as text or mapping, or a callable that signs, as a key in a KMS or HSM does."""

ASYMMETRIC = ("RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519")
"""The algorithms that we sign and accept with, in the order in which they are chosen."""
LONGEST_TOKEN = 1 << 16
"""Characters of a token that is read."""
LONGEST_HEADER = 1 << 14
"""Bytes of a token's header that is read: certificates in `x5c` take some thousand."""

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


class Jwt(NamedTuple):
    """A token whose signature holds."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]


class Jws(NamedTuple):
    """A signed message whose signature holds, whatever it contains."""

    header: Mapping[str, Any]
    payload: bytes


def load_signing_key(
    key: KeyLike, *, alg: str | None = None, key_id: str | None = None, rsa_alg: str = "RS256"
) -> SigningKey:
    """The key to sign with. `alg` is chosen by the kind of key where it is None; a callable needs it.

    `rsa_alg` is the algorithm that is chosen for an RSA key.

    Text that contains `-----BEGIN` is PEM, text that begins with `{` is a JWK, any other text is a path. Raises
    `ConfigError`, which quotes nothing of the key, and `MissingExtraError` without the extra.
    """
    if alg is not None and alg not in _ALL:
        raise ConfigError(f"key_alg may be one of {', '.join(ASYMMETRIC)}.")
    if callable(key):
        if alg is None:
            raise ConfigError("A key that is a callable needs key_alg.", next_step="Name it: key_alg='ES256'.")
        return SigningKey(key, alg, key_id)
    loaded = _load(_content(key))
    kinds = _BY_KIND | {("RSA", ""): rsa_alg}
    chosen = alg or loaded.get("alg") or kinds.get((loaded.key_type, str(loaded.get("crv") or "")))
    if chosen not in _ALL:
        raise ConfigError(
            f"The key works with none of {', '.join(ASYMMETRIC)}, by its kind or its own alg.",
            next_step="Use an EC key on P-256.",
        )
    algorithm = _algorithm(chosen)
    try:
        algorithm.check_key(loaded)
        algorithm.sign(b"", loaded)  # the public half alone, or a key too short, is noticed now
    except Exception:
        problem = ConfigError(f"The key cannot sign with {chosen}.", next_step="Give the private key of that kind.")
    else:
        public = loaded.as_dict(private=False) if loaded.key_type != "oct" else None
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
    jwk = _library().jwk
    kinds = {made: kind for kind, made in _BY_KIND.items()} | {"PS256": ("RSA", ""), "Ed25519": ("OKP", "Ed25519")}
    kind, curve = kinds[alg]
    return SecretJson(jwk.generate_key(kind, curve or 2048, private=True).as_dict(private=True), alg=alg)


def secret_jwk(secret: str) -> SecretJson:
    """A client's secret as the key of HS256 (OpenID Connect Core §10.1)."""
    return SecretJson(kty="oct", k=base64url(secret.encode()))


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


def read_jwt(token: object, keys: Iterable[Mapping[str, Any]], algs: Collection[str]) -> Jwt:
    """The token's header and claims, if one of `keys` (JWKs) made its signature with one of `algs`, as `read_jws` says.

    Raises `IdentityError` also for a payload that is not a JSON object.
    """
    message = read_jws(token, keys, algs)
    return Jwt(message.header, _claims(message.payload))


def read_jws(token: object, keys: Iterable[Mapping[str, Any]], algs: Collection[str]) -> Jws:
    """Header and payload of a JWS in compact form, if one of `keys` (JWKs) made its signature with one of `algs`.

    A key that names another `kid`, `use`, `alg` or kind does not count, nor does one that is published with its private
    part. Raises `IdentityError`, which quotes nothing of the token; `UnknownKeyError` where no key fits, so that newer
    keys may help.
    """
    if not isinstance(token, str) or len(token) > LONGEST_TOKEN:
        raise IdentityError("The token is too long, or not a token.")
    if re.fullmatch(_COMPACT, token) is None:
        raise IdentityError("The token is not a signed JWT in compact form; encrypted tokens are not read.")
    header, payload, signature = _opened(token)
    alg = header.get("alg")
    if not isinstance(alg, str) or alg not in algs or alg not in _ALL or _UNREAD & header.keys():
        raise IdentityError("The token is not a signed JWT with an algorithm that is accepted here.")
    fitting = [key for key in map(_loaded, _candidates(header, alg, keys)) if key is not None and _fits(key, alg)]
    if not fitting:
        raise UnknownKeyError("The token is signed by a key that the issuer does not publish.")
    signed = token.rpartition(".")[0].encode("ascii")
    if not any(_holds(alg, signed, signature, key) for key in fitting):
        raise IdentityError("The token's signature is not valid.")
    return Jws(header, payload)


def unverified(token: object) -> Jwt:
    """Header and claims of a token whose signature nobody checked. Raises `IdentityError`."""
    if not isinstance(token, str) or len(token) > LONGEST_TOKEN or re.fullmatch(_COMPACT, token) is None:
        raise IdentityError("The token is not a signed JWT in compact form.")
    header, payload, _ = _opened(token)
    return Jwt(header, _claims(payload))


class UnknownKeyError(IdentityError):
    """No published key fits the token; newer keys may."""


# --- joserfc ---

_UNUSABLE = (ValueError, TypeError, AttributeError, LookupError)
"""Further errors of joserfc for a key that it cannot use; an unknown curve is a KeyError."""


def require() -> None:
    """Raises `MissingExtraError` where the package is not installed."""
    _library()


def _library() -> Any:
    """The package joserfc with the modules that are used here. Raises `MissingExtraError`."""
    try:
        import joserfc.errors
        import joserfc.jwk
        import joserfc.jws
        import joserfc.util

        return joserfc
    except ImportError:
        pass
    raise MissingExtraError(
        "Signed tokens need the package joserfc.", next_step="Install it with: pip install 'SlyAPI[jose]'"
    )


def _algorithm(name: str) -> Any:
    # not by `get_alg`, which warns of the name EdDSA: RFC 9864 prefers Ed25519, and issuers still write the older one
    return _library().jws.JWSRegistry.algorithms[name]


def _content(key: StrPath | bytes | Mapping[str, Any]) -> bytes | Mapping[str, Any]:
    """PEM or a JWK; a path is read."""
    if isinstance(key, Mapping | bytes):
        return key
    if is_content(key):
        return _pem_or_jwk(os.fsdecode(key).encode("utf-8", "replace"))
    try:
        with open(key, "rb") as file:
            return _pem_or_jwk(file.read(1 << 16))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a path"
    shown = "" if _BASE64.fullmatch(os.fsdecode(key)) else f" {display_path(key)}"
    raise ConfigError(f"The key file{shown} cannot be read ({printable(why, 80)}).")


def _pem_or_jwk(content: bytes) -> bytes | Mapping[str, Any]:
    return _parsed(content) if content.lstrip().startswith(b"{") else content


def _parsed(content: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = {}
    return value if isinstance(value, dict) else {}


def _load(content: bytes | Mapping[str, Any]) -> Any:
    jwk, errors = _library().jwk, _library().errors
    try:
        if isinstance(content, Mapping):
            return jwk.import_key(dict(content))
        for kind in ("EC", "RSA", "OKP"):
            try:
                return jwk.import_key(content, kind)
            except (errors.JoseError, *_UNUSABLE):
                continue
    except (errors.JoseError, *_UNUSABLE):
        pass
    raise ConfigError(
        "The key is not a private key in PEM or a JWK, or it has a password.",
        next_step="Make one with: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out KEY.pem",
    )


_COMPACT = r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){2}"
_ALL = (*ASYMMETRIC, "HS256")
_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP", "HS": "oct"}
_UNREAD = {"crit", "b64"}
"""Header parameters that change how a token is read (RFC 7515 §4.1.11, RFC 7797)."""
_MOST_KEYS = 8
"""Keys of one id, or of none, that are tried for one token."""
_SHORTEST_RSA, _LONGEST_RSA = 2048, 16384 + 8
"""Bits (RFC 7518 §3.3; what OpenSSL verifies with)."""
SHORTEST_SECRET = 32
"""Octets of a secret for HS256 (RFC 7518 §3.2, OpenID Connect Core §16.19)."""
_PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


def _opened(token: str) -> tuple[dict[str, Any], bytes, bytes]:
    """Header, payload and signature, decoded. Raises `IdentityError`."""
    decode = _library().util.urlsafe_b64decode
    payload = signature = b""
    try:
        head, payload, signature = (decode(part.encode("ascii")) for part in token.split("."))
        header = json.loads(head) if len(head) <= LONGEST_HEADER else None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise IdentityError("The token is not a signed JWT in compact form.")
    return header, payload, signature


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise IdentityError("The token does not contain claims.")
    return claims


def _candidates(header: Mapping[str, Any], alg: str, keys: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The first keys that the token may mean: of its kind, and of its `kid` if both have one."""
    kid, kind = header.get("kid"), _KINDS[alg[:2]]
    return [
        key for key in keys if key.get("kty") == kind and (kid is None or key.get("kid") in (None, kid))
    ][:_MOST_KEYS]


def _loaded(key: Mapping[str, Any]) -> Any:
    """A published key to verify with; None for one that cannot be used, or that is published whole."""
    jwk, errors = _library().jwk, _library().errors
    if key.get("kty") != "oct" and _PRIVATE & key.keys():
        return None  # anybody who reads it can sign
    if key.get("kty") == "RSA" and not _SHORTEST_RSA <= 6 * len(str(key.get("n")).lstrip("A")) <= _LONGEST_RSA:
        return None  # "A" are zeros, which add nothing
    if key.get("kty") == "oct" and 6 * len(str(key.get("k"))) < 8 * SHORTEST_SECRET:
        return None
    try:
        return jwk.import_key(dict(key))
    except (errors.JoseError, *_UNUSABLE):
        return None


def _fits(key: Any, alg: str) -> bool:
    """Whether the key may verify signatures of this algorithm, by its kind, curve, size, `use`, `alg` and `key_ops`."""
    try:
        _algorithm(alg).check_key(key)
        key.get_op_key("verify")
    except (_library().errors.JoseError, *_UNUSABLE):
        return False
    return bool(key.key_type != "OKP" or key.curve_name == "Ed25519")


def _holds(alg: str, signed: bytes, signature: bytes, key: Any) -> bool:
    try:
        return bool(_algorithm(alg).verify(signed, signature, key))
    except (_library().errors.JoseError, *_UNUSABLE):
        return False


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
