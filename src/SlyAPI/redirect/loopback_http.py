"""HTTP of the loopback listener as plain bytes: reads a request's head, writes a response.

The rule: pure; any bytes give a `Head`, a `Refusal` or None, never an exception.
"""
from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from functools import cache
from html import escape
from http import HTTPStatus
from importlib.resources import files
from string import Template

from ..errors import printable

LONGEST_HEAD = 16 * 1024

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/1\.[01]")
_CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

_MARKS = {
    "good": ("Done", "M4 12.5l5.5 5.5L20 7"),
    "bad": ("Not done", "M5.5 5.5l13 13M18.5 5.5l-13 13"),
    "wait": ("Waiting", "M12 2.5a9.5 9.5 0 1 0 0 19a9.5 9.5 0 1 0 0-19M12 7v5l3.5 2"),
}


@dataclass(frozen=True)
class Head:
    """The head of one request; `query` is the raw text after `?`, or ""."""

    method: str
    path: str
    query: str = field(repr=False)
    host: str
    prefetch: bool = False


@dataclass(frozen=True)
class Refusal:
    """The bytes are not a request that the listener accepts; `status` is the answer."""

    status: int


def read_head(raw: bytes) -> Head | Refusal | None:
    """The head at the start of `raw`; None while it is incomplete.

    Stricter than RFC 9112 requires (§2.2, §5: no bare LF, no folded lines; §3.2: exactly one Host). Every browser
    sends such heads.
    """
    head, ended, _ = raw[:LONGEST_HEAD].partition(b"\r\n\r\n")
    # Refused at once: a TLS hello would otherwise wait for an end of head that never comes.
    text = head if ended else head.removesuffix(b"\r")  # its LF may follow
    if _CONTROLS.search(text.replace(b"\r\n", b"").replace(b"\t", b"")):
        return Refusal(400)
    first, *lines = head.split(b"\r\n")
    request_line = _REQUEST_LINE.fullmatch(first)
    if request_line is None and (lines or ended):
        return Refusal(400)
    if not ended:
        return Refusal(431) if len(raw) >= LONGEST_HEAD else None
    assert request_line is not None
    return _whole_head(request_line[1].decode(), request_line[2].decode(), lines)


def _whole_head(method: str, target: str, lines: list[bytes]) -> Head | Refusal:
    """The request line and the field lines as a `Head`."""
    hosts: list[str] = []
    prefetch = False
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            return Refusal(400)
        if name.lower() == b"host":
            hosts.append(value.strip(b" \t").decode("latin-1"))
        elif name.lower() in (b"sec-purpose", b"purpose", b"x-moz"):
            prefetch = prefetch or b"prefetch" in value.lower()
    # RFC 9112 §3.2: exactly one Host, else 400; the absolute form (§3.2.2) is for proxies.
    if len(hosts) != 1 or not target.startswith("/"):
        return Refusal(400)
    path, _, query = target.partition("?")
    return Head(method, path, query, hosts[0], prefetch)


def response(status: int, html: str, *, location: str = "", head_only: bool = False) -> bytes:
    """A complete HTTP/1.1 response that ends its connection; it allows no script and no caching."""
    body = html.encode("utf-8", "replace")
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    fields = [
        f"HTTP/1.1 {status} {phrase}",
        "Content-Type: text/html; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "Cache-Control: no-store",
        f"Content-Security-Policy: {_policy()}",
        "Referrer-Policy: no-referrer",
        "X-Content-Type-Options: nosniff",
        "Cross-Origin-Resource-Policy: same-origin",
    ]
    if location:
        fields.append(f"Location: {location}")
    if status == 405:
        fields.append("Allow: GET")  # RFC 9110 §15.5.6
    return "\r\n".join([*fields, "", ""]).encode("ascii") + (b"" if head_only else body)


def page(title: str, message: str, *, ok: bool, details: str = "") -> str:
    """The final page: a check mark or a cross, what happened, and the lines of `details` in a box."""
    return _render("good" if ok else "bad", title, message, details, "You may close this tab.")


def waiting_page() -> str:
    """The page for a user who opens the listener's address by hand."""
    return _render("wait", "Waiting", "Your sign-in returns here.", "", "Continue in the tab where you sign in.")


def refusal_page(status: int) -> str:
    """A short page for a request that is not the redirect."""
    return _render("bad", HTTPStatus(status).phrase, "No sign-in returns to this address.", "", "")


def _render(mark: str, title: str, message: str, details: str, close: str) -> str:
    label, stroke = _MARKS[mark]
    lines = "\n".join(printable(line, 1000) for line in details[:4000].splitlines())
    return _template().substitute(
        mark=mark,
        label=label,
        stroke=stroke,
        title=escape(printable(title)),
        message=escape(printable(message, 2000)),
        details=escape(lines.strip()),
        close=escape(close),
    )


@cache
def _template() -> Template:
    return Template(files("SlyAPI.redirect").joinpath("loopback.html").read_text("utf-8"))


@cache
def _policy() -> str:
    """The Content-Security-Policy: the one style of `loopback.html`, by its hash, and nothing else."""
    style = _template().template.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
