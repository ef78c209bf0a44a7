"""RFC 5849 §3: the signature of one request, and the header that carries it. Pure, except for the nonce.

The rule: every text is decoded once and encoded once, and the signed URL is the one on the wire.
"""

import hmac
import secrets
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args
from urllib.parse import parse_qsl, quote

from ..auth import rsa
from ..errors import ConfigError
from ..web.secret_values import SecretForm
from ..web.urls import as_sent, is_loopback_uri, parsed_url

if TYPE_CHECKING:
    from yarl import URL

SignatureMethod = Literal["HMAC-SHA1", "HMAC-SHA256", "RSA-SHA1", "PLAINTEXT"]
"""HMAC-SHA256 is not in the RFC; it is HMAC-SHA1 (§3.4.2) with the other hash."""

Pair = tuple[str, str]


def new_nonce() -> str:
    """A fresh nonce: 128 bits, 32 characters (RFC 5849 §3.3)."""
    return secrets.token_hex(16)


def escaped(text: str) -> str:
    """Percent-encoded by §3.6: all but unreserved characters, in upper case.

    >>> escaped("Ladies + Gentlemen")
    'Ladies%20%2B%20Gentlemen'
    """
    # bytes that are not UTF-8, which `form_pairs` keeps as surrogates, become the same bytes again
    return quote(text, safe="~", errors="surrogateescape")


def form_pairs(encoded: str) -> list[Pair]:
    """The decoded names and values of a query or form (§3.4.1.3.1), in order, empty values included."""
    return parse_qsl(encoded, keep_blank_values=True, errors="surrogateescape")


def base_string_uri(url: str) -> str:
    """Scheme, authority and path of the request (§3.4.1.2): only the first two are lower case."""
    sent = _http_url(url)
    spelled = as_sent(url)  # with the escapes as they came, but also the host and port
    path = (sent if isinstance(spelled, str) else spelled).raw_path
    return f"{sent.scheme}://{sent.host_port_subcomponent}{path}"


def normalized(parameters: Iterable[Pair]) -> str:
    """Parameters in the spelling and order that both sides sign (§3.4.1.3.2)."""
    return "&".join(f"{name}={value}" for name, value in sorted((escaped(n), escaped(v)) for n, v in parameters))


def base_string(http_method: str, url: str, parameters: Iterable[Pair]) -> str:
    """The text to sign (§3.4.1.1). `parameters`: of the header and of a form, decoded; those in the URL are added."""
    every = [*form_pairs(_http_url(url).raw_query_string), *parameters]
    return "&".join((http_method.upper(), escaped(base_string_uri(url)), escaped(normalized(every))))


def authorization_header(parameters: Iterable[Pair], realm: str | None = None) -> str:
    """The value of the Authorization header (§3.5.1). The realm (RFC 9110 §11.5) is quoted, never signed."""
    fields = [f'{escaped(name)}="{escaped(value)}"' for name, value in parameters]
    if realm is not None:
        quoted = realm.replace("\\", "\\\\").replace('"', '\\"')
        fields.insert(0, f'realm="{quoted}"')
    return f"OAuth {', '.join(fields)}"


def checked_realm(realm: str | None) -> str | None:
    """The realm, if a header may carry it. Raises `ConfigError`."""
    if realm is not None and not (realm.isprintable() and realm.isascii()):
        raise ConfigError("The realm contains characters that a header may not carry.")
    return realm


def checked_method(method: SignatureMethod, private_key: object) -> SignatureMethod:
    """The method, if it is known and has the key that it needs. Raises `ConfigError`."""
    if method not in get_args(SignatureMethod):
        raise ConfigError(f"The signature method may be {', '.join(get_args(SignatureMethod))}.")
    if method == "RSA-SHA1" and not private_key:
        raise ConfigError("RSA-SHA1 signs with a private key.", next_step="Give private_key, as PEM.")
    return method


@dataclass(slots=True, frozen=True, repr=False)
class Signing:
    """The keys and the method: what does not change between requests.

    `token_key` is empty before there is a token, and for an API that knows clients only. `private_key` is the
    result of `rsa.load`, for RSA-SHA1.
    """

    client_key: str
    client_secret: str
    token_key: str = ""
    token_secret: str = ""
    method: SignatureMethod = "HMAC-SHA1"
    private_key: object = None
    realm: str | None = None

    def __repr__(self) -> str:
        return f"<Signing by {self.method}>"

    def header(
        self,
        http_method: str,
        url: str,
        fields: Iterable[Pair] = (),
        *,
        timestamp: int,
        nonce: str,
        more: Mapping[str, str] | None = None,
    ) -> str:
        """The Authorization header of one request (§3.1).

        `url` may have a query; `fields` are further query parameters and those of a form, decoded.
        `timestamp` in epoch seconds; `more` are further protocol parameters, such as `oauth_callback`.
        Raises `ConfigError` for PLAINTEXT without TLS, and for text that cannot be encoded.
        """
        if self.method == "PLAINTEXT" and _http_url(url).scheme != "https" and not is_loopback_uri(url):
            raise ConfigError(
                "PLAINTEXT sends the secrets themselves, so it needs https (RFC 5849 §3.4.4).",
                next_step="Use https, or another signature method.",
            )
        protocol = SecretForm(oauth_consumer_key=self.client_key)
        if self.token_key:
            protocol["oauth_token"] = self.token_key
        protocol.update(oauth_signature_method=self.method, oauth_timestamp=str(timestamp), oauth_nonce=nonce)
        protocol.update(oauth_version="1.0", **(more or {}))
        try:
            text = base_string(http_method, url, [*fields, *protocol.items()])
            return authorization_header([*protocol.items(), ("oauth_signature", self.signature(text))], self.realm)
        except UnicodeEncodeError:
            pass  # raised below: the codec's error, which holds the text, must not be its context
        raise ConfigError("The request contains an unpaired surrogate (U+D800 to U+DFFF), so it cannot be signed.")

    def signature(self, text: str) -> str:
        """The signature of a base string by the method (§3.4.2 to §3.4.4)."""
        if self.method == "RSA-SHA1":
            return b64encode(rsa.sign(self.private_key, text.encode("ascii"))).decode("ascii")
        key = f"{escaped(self.client_secret)}&{escaped(self.token_secret)}"
        if self.method == "PLAINTEXT":
            return key
        hash_name = "sha256" if self.method == "HMAC-SHA256" else "sha1"
        return b64encode(hmac.digest(key.encode("ascii"), text.encode("ascii"), hash_name)).decode("ascii")


def _http_url(url: str) -> "URL":
    """The URL as yarl reads it: percent-encoded, without dot segments and a default port."""
    try:
        sent = parsed_url(url)
        if sent.host and sent.scheme in ("http", "https"):
            return sent
    except ValueError:
        pass
    raise ConfigError("The address to sign is not an http URL.", next_step="Check base_url and the client file.")
