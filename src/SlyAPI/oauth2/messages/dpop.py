"""RFC 9449, DPoP: a proof that the sender of a token has the key to which it is bound. Pure, except for its jti.

The rule: a proof serves one request. Nonces are the server's, kept by origin.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from json.encoder import encode_basestring_ascii as _json
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from ...errors import ConfigError
from ...web.challenges import wants_nonce
from ...web.messages import Reply
from ...web.urls import parsed_url
from .token_endpoint import read_answer

if TYPE_CHECKING:
    from .jose import SigningKey

PREFERRED = ("ES256", "Ed25519", "EdDSA", "ES384", "PS256", "RS256")


def choose_algorithm(offered: Sequence[str] | None) -> str:
    """The algorithm of new keys: ES256 unless the server's list wants another. Raises `ConfigError`."""
    if offered is None:
        return "ES256"
    for alg in PREFERRED:
        if alg in offered:
            return alg
    raise ConfigError("The server accepts none of our DPoP algorithms (dpop_signing_alg_values_supported).")


_AS_SENT = re.compile(r"https?://[a-z0-9.-]++(?::(?!(?:80|443)/)[1-9][0-9]{0,4}+)?(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*+)++")
"""URLs that aiohttp sends as they are written: nothing to encode, no dot segment, no port that goes without saying."""


def target_uri(url: str) -> str:
    """The `htu` of a request (RFC 9449 §4.2): its URL as it is sent, without query and fragment."""
    bare = url.partition("#")[0].partition("?")[0]
    if _AS_SENT.fullmatch(bare):
        return bare
    return str(parsed_url(url).with_query(None).with_fragment(None))


class Nonces:
    """The last nonce of each server, by origin (RFC 9449 §8 and §9). A copy is empty."""

    def __init__(self) -> None:
        self._by_origin: dict[str, str] = {}

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()

    def of(self, url: str) -> str | None:
        """The nonce for a request to this URL."""
        return self._by_origin.get(_origin(url))

    def asked_for(self, url: str, headers: Mapping[str, str]) -> bool:
        """Whether a 401 from this URL refuses the proof for want of a nonce, which is then remembered (RFC 9449 §9)."""
        return self.take(url, headers) and wants_nonce(headers)

    def take(self, url: str, headers: Mapping[str, str]) -> bool:
        """Remembers the nonce in a reply from this URL; whether there is one."""
        nonce, origin = headers.get("DPoP-Nonce", ""), _origin(url)
        if not nonce or len(nonce) > _LONGEST_NONCE or not (nonce.isascii() and nonce.isprintable()):
            return False
        self._by_origin.pop(origin, None)
        while len(self._by_origin) >= _MOST_ORIGINS:
            del self._by_origin[next(iter(self._by_origin))]
        self._by_origin[origin] = nonce
        return True


_LONGEST_NONCE = 1024
_MOST_ORIGINS = 1000


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


def proof_error(reply: Reply) -> str:
    """The error of an authorization server that refused a request.

    `use_dpop_nonce`: it lacks the server's nonce (RFC 9449 §8); `invalid_dpop_proof`: its time may be wrong (§5).
    """
    answer = read_answer(reply) if reply.status in (400, 401) else None
    return str((answer or {}).get("error", ""))


async def dpop_proof(
    key: "SigningKey",
    method: str,
    url: str,
    *,
    now: float,
    nonce: str | None = None,
    access_token: str | None = None,
) -> str:
    """The value of the `DPoP` header for one request (RFC 9449 §4.2).

    `now` in epoch seconds by the server's clock; `access_token` is the one in the `Authorization` header, for `ath`.
    """
    # written out, which takes a fifth of the time of json.dumps: a proof is on the way of every call
    claims = f'{{"jti":"{token_urlsafe(16)}","htm":{_json(method)},"htu":{_json(target_uri(url))},"iat":{int(now)}'
    if nonce is not None:
        claims += f',"nonce":{_json(nonce)}'
    if access_token is not None:
        claims += f',"ath":"{access_token_hash(access_token)}"'
    return await key.signed(key.proof_header, f"{claims}}}".encode("ascii"))


def access_token_hash(access_token: str) -> str:
    """`ath` (RFC 9449 §4.2): the base64url SHA-256 hash of the token."""
    return urlsafe_b64encode(sha256(access_token.encode("ascii", "replace")).digest())[:43].decode("ascii")
