"""Which headers pass the broker, each way. Pure.

The rule: what belongs to one connection, to a browser or to a credential does not pass (RFC 9110 §7.6.1).
"""

from collections.abc import Iterable

from .masked_pieces import Mask

_OF_CONNECTION = {
    *("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
    *("transfer-encoding", "upgrade"),
}
_NOT_TO_API = {
    *_OF_CONNECTION,
    *("host", "authorization", "cookie", "dpop", "content-length", "expect", "accept-encoding"),
    *("x-http-method-override", "x-http-method", "x-method-override"),
}
_NOT_TO_CALLER = {*_OF_CONNECTION, "set-cookie", "set-cookie2", "dpop-nonce", "alt-svc"}


def headers_to_api(fields: Iterable[tuple[str, str]], secret: str) -> dict[str, str]:
    """The caller's headers that are sent on; a repeated one becomes a list in one line (RFC 9110 §5.3)."""
    sent: dict[str, str] = {"Accept-Encoding": "identity"}
    names: dict[str, str] = {}
    for name, value in _passing(fields, _NOT_TO_API):
        if secret in value or name.lower().startswith("sec-"):
            continue
        known = names.setdefault(name.lower(), name)
        sent[known] = f"{sent[known]}, {value}" if known in sent else value
    return sent


def headers_to_caller(fields: Iterable[tuple[str, str]], mask: Mask) -> list[tuple[str, str]]:
    """The API's headers that are passed on, without secrets."""
    passing = [(name, value.encode("utf-8", "replace").decode()) for name, value in _passing(fields, _NOT_TO_CALLER)]
    whole = "\n".join(value for _, value in passing)
    return passing if mask.text(whole) == whole else [(name, mask.text(value)) for name, value in passing]


def _passing(fields: Iterable[tuple[str, str]], dropped: set[str]) -> list[tuple[str, str]]:
    # a server may read an underscore as a hyphen (CGI)
    named = [(name.lower().replace("_", "-"), name, value) for name, value in fields]
    listed = ",".join(value for plain, _, value in named if plain == "connection")
    gone = dropped | {word.strip().lower() for word in listed.split(",")} if listed else dropped
    return [(name, value) for plain, name, value in named if plain not in gone]
