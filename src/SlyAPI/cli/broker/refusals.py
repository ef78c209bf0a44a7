"""Whether the broker takes a request, by its head alone. Pure.

The rule: in this order, before any body is read: Host, browser, pass, target, rules.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hmac import compare_digest
from urllib.parse import unquote

from ...web.redirects import path_segments
from .rules import Rules

_ANY = Rules()
_TARGET = re.compile(r"/(?:[!-\"$&-\[\]-~]|%[0-9A-Fa-f]{2})*")
"""The origin form, without fragment, backslash and broken escapes: no absolute form (RFC 9112 §3.2.2)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a request that is not sent on."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Checks:
    """What is asked of each request. `hosts`: the accepted values of Host; None on a Unix socket."""

    secret: str = field(repr=False)
    hosts: frozenset[str] | None = None
    rules: Rules = _ANY

    def refusal(self, method: str, target: str, headers: Iterable[tuple[str, str]]) -> Refusal | None:
        """Why the request is refused; None if it is not."""
        fields = [(name.lower(), value.strip()) for name, value in headers]
        hosts = [value.lower() for name, value in fields if name == "host"]
        if len(hosts) != 1 or (self.hosts is not None and hosts[0] not in self.hosts):
            return Refusal(421, "The Host header is not the broker's address.")
        if _is_browser(fields):
            return Refusal(403, "The broker is not for web pages.")
        if not self._has_pass([value for name, value in fields if name == "authorization"]):
            return Refusal(401, "Send the pass: Authorization: Bearer PASS, once.")
        if method in ("CONNECT", "TRACE") or method != method.upper():
            return Refusal(405, "The broker does not send this method.")
        if not _TARGET.fullmatch(target) or _goes_up(target):
            return Refusal(400, "The target is not a path without '..', which begins with a slash.")
        if self.secret in unquote(target):
            return Refusal(400, "The pass belongs in the Authorization header alone.")
        if not "".join(value for _, value in fields).replace("\t", "").isprintable():
            return Refusal(400, "A header is not text.")
        if not self.rules.admit(method, target):
            return Refusal(403, "This pass does not allow this method and path.")
        return None

    def _has_pass(self, given: list[str]) -> bool:
        scheme, _, secret = (given[0] if len(given) == 1 else "").partition(" ")
        same = compare_digest(secret.strip().encode("utf-8", "surrogateescape"), self.secret.encode())
        return same and scheme.lower() == "bearer"


def _goes_up(target: str) -> bool:
    return (".." in target or "%" in target) and ".." in path_segments(f"http://api{target}")


def _is_browser(fields: list[tuple[str, str]]) -> bool:
    """Whether a web page may have sent it; Node's fetch sends `Sec-Fetch-Mode: cors` and nothing else of the kind."""
    sent = [(name, value) for name, value in fields if name == "origin" or name.startswith("sec-fetch-")]
    return bool(sent) and sent != [("sec-fetch-mode", "cors")]
