"""Which headers pass the broker, each way. Pure.

The rule: what belongs to one connection, to a browser or to a credential does not pass (RFC 9110 §7.6.1).
"""

from collections.abc import Iterable

from ...web.masking import masked

_OF_CONNECTION = {
    *("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
    *("transfer-encoding", "upgrade"),
}
_NOT_TO_API = {
    *("host", "authorization", "cookie", "dpop", "content-length", "expect", "accept-encoding"),
    *("x-http-method-override", "x-http-method", "x-method-override"),
}
_NOT_TO_CALLER = {"set-cookie", "set-cookie2", "dpop-nonce", "alt-svc"}


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


def headers_to_caller(fields: Iterable[tuple[str, str]], secrets: Iterable[str]) -> list[tuple[str, str]]:
    """The API's headers that are passed on, without secrets."""
    secrets = tuple(secrets)
    passing = _passing(fields, _NOT_TO_CALLER)
    return [(name, masked(value.encode("utf-8", "replace").decode(), secrets)) for name, value in passing]


def _passing(fields: Iterable[tuple[str, str]], dropped: set[str]) -> list[tuple[str, str]]:
    fields = list(fields)
    listed = ",".join(value for name, value in fields if name.lower() == "connection")
    named = {word.strip().lower() for word in listed.split(",")}
    # a server may read an underscore as a hyphen (CGI)
    gone = _OF_CONNECTION | dropped | named
    return [(name, value) for name, value in fields if name.lower().replace("_", "-") not in gone]
