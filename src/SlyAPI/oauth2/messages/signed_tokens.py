"""Reads tokens that others signed (JSON Web Signatures, RFC 7515).

The rule: what is accepted is decided by the caller's list of algorithms and keys, never by the header of a token; a
header's `jku`, `jwk`, `x5u` and `x5c` are ignored.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from ...errors import IdentityError
from ...web.secret_values import SecretJson
from .jose import ALL, ASYMMETRIC, UNUSABLE, algorithm_of, base64url, known_members, library

LONGEST_TOKEN = 1 << 16
"""Characters of a token that is read."""
LONGEST_HEADER = 1 << 14
"""Bytes of a token's header that is read: certificates in `x5c` take some thousand."""
_COMPACT = r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){2}"
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


class Jwt(NamedTuple):
    """A token whose signature holds."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]


class Jws(NamedTuple):
    """A signed message whose signature holds, whatever it contains."""

    header: Mapping[str, Any]
    payload: bytes


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
    if not isinstance(alg, str) or alg not in algs or alg not in ALL or _UNREAD & header.keys():
        other = isinstance(alg, str) and alg in ASYMMETRIC and alg not in algs
        known = f"is signed with {alg}, not with" if other else "is not a signed JWT with"
        raise IdentityError(
            f"The token {known} an algorithm that is accepted here ({', '.join(sorted(algs))}).",
            next_step="If the provider signs with another one, name it: id_token_alg, or response_alg for a redirect.",
        )
    fitting = [key for key in map(_loaded, _candidates(header, alg, keys)) if key is not None and _fits(key, alg)]
    if not fitting:
        unknown = UnknownKeyError("The token is signed by a key that the issuer does not publish.")
        unknown.kid = str(header.get("kid"))
        raise unknown
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
    """No published key fits the token; newer keys may. `kid` is the key that it names."""

    kid: str = ""


def secret_jwk(secret: str) -> SecretJson:
    """A client's secret as the key of HS256 (OpenID Connect Core §10.1)."""
    return SecretJson(kty="oct", k=base64url(secret.encode()))


def _opened(token: str) -> tuple[dict[str, Any], bytes, bytes]:
    """Header, payload and signature, decoded. Raises `IdentityError`."""
    decode = library().util.urlsafe_b64decode
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
        key for key in keys if key.get("kty") == kind and (kid in (None, "") or key.get("kid") in (None, "", kid))
    ][:_MOST_KEYS]


def _loaded(key: Mapping[str, Any]) -> Any:
    """A published key to verify with; None for one that cannot be used, or that is published whole."""
    jwk, errors = library().jwk, library().errors
    if key.get("kty") != "oct" and _PRIVATE & key.keys():
        return None  # anybody who reads it can sign
    if key.get("kty") == "RSA" and not _SHORTEST_RSA <= 6 * len(str(key.get("n")).lstrip("A")) <= _LONGEST_RSA:
        return None  # "A" are zeros, which add nothing
    if key.get("kty") == "oct" and 6 * len(str(key.get("k"))) < 8 * SHORTEST_SECRET:
        return None
    try:
        return jwk.import_key(known_members(key))
    except (errors.JoseError, *UNUSABLE):
        return None


def _fits(key: Any, alg: str) -> bool:
    """Whether the key may verify signatures of this algorithm, by its kind, curve, size, `use`, `alg` and `key_ops`."""
    try:
        algorithm_of(alg).check_key(key)
        key.get_op_key("verify")
    except (library().errors.JoseError, *UNUSABLE):
        return False
    return bool(key.key_type != "OKP" or key.curve_name == "Ed25519")


def _holds(alg: str, signed: bytes, signature: bytes, key: Any) -> bool:
    try:
        return bool(algorithm_of(alg).verify(signed, signature, key))
    except (library().errors.JoseError, *UNUSABLE):
        return False
