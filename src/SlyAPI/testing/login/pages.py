"""The provider's pages: the questions to the person, and the answers that are not redirects.

The rule: no script, everything escaped, nothing loaded from anywhere.
"""
from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from urllib.parse import urlsplit

_HOST = re.compile(r"[A-Za-z0-9.-]+")


def _part(name: str) -> str:
    return files(__package__ or "").joinpath(name).read_text(encoding="utf-8")


def _style() -> str:
    return _part("pages.css")


def _filled(name: str, **values: str) -> str:
    return Template(_part(name)).substitute(values, style=_style())


def consent_page(
    *, app: str, people: Sequence[str], person: str, scopes: Mapping[str, str], destination: str, ticket: str
) -> str:
    """Ask for scopes (name to description); of several `people`, `person` is who it seems to be."""
    return _filled(
        "consent.html",
        app=escape(app),
        initial=escape(app[:1].upper()),
        who=_who(people, person),
        scopes=_items(scopes),
        destination=escape(urlsplit(destination).netloc or destination.partition(":")[0]),
        ticket=escape(ticket),
    )


def device_page(*, app: str, people: Sequence[str], scopes: Mapping[str, str], user_code: str) -> str:
    """Ask the person whether a device may have access: which app, which scopes, which code it has to show."""
    return _filled(
        "device.html",
        app=escape(app),
        initial=escape(app[:1].upper()),
        who=_who(people, people[0]),
        scopes=_items(scopes),
        user_code=escape(user_code),
    )


def device_code_page(reason: str) -> str:
    """Ask the person for the code on the device; `reason` is why the last one was refused."""
    return _filled("device_code.html", reason=escape(reason))


def done_page(words: str) -> str:
    """The page for something that is done."""
    return _filled("done.html", words=escape(words))


def _items(scopes: Mapping[str, str]) -> str:
    return "\n".join(
        f"    <li><span>{escape(text)} <code>{escape(name)}</code></span></li>" for name, text in scopes.items()
    )


def _who(people: Sequence[str], person: str) -> str:
    if len(people) == 1:
        return f'<p class="who">Signed in as {escape(person)}</p>'
    choices = "\n".join(
        f'      <label><input type="radio" form="answer" name="person" value="{escape(name)}"'
        f"{' checked' if name == person else ''}> {escape(name)}</label>"
        for name in people
    )
    return f'<fieldset>\n      <legend>Who are you?</legend>\n{choices}\n    </fieldset>'


def refused_page(reason: str) -> str:
    """The reason why the request cannot be answered."""
    return _filled("refused.html", reason=escape(reason))


def content_security_policy(destination: str | None = None) -> str:
    """What a page may do: show itself, and send its form here and on to `destination`, as Chromium demands."""
    hashed = base64.b64encode(hashlib.sha256(_style().encode("utf-8")).digest()).decode("ascii")
    form_action = "'none'" if destination is None else f"'self' {_source(destination)}"
    return (
        f"default-src 'none'; style-src 'sha256-{hashed}'; img-src data:; form-action {form_action}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


def _source(uri: str) -> str:
    """A URI's origin as a CSP source; only its scheme where CSP has no word for the host (IPv6)."""
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https") and _HOST.fullmatch(parts.hostname or ""):
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    return f"{parts.scheme}:"
