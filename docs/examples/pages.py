"""The pages of the examples, as text.

The rule: everything that comes from elsewhere is escaped, and there is no script.
"""
from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from accounts import Person, SignedOut
from services import Note, Service

from SlyAPI import GrantEndedError, SlyError, WebAPI
from SlyAPI.errors import DeniedError, LoginEndedError, StateMismatchError

STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",  # otherwise the back button shows pages after signing out
}
STREAMED = {**HEADERS, "Content-Type": "text/html; charset=utf-8", "X-Accel-Buffering": "no"}  # nginx: pass on at once
RETRY_SECONDS = 5
SIGN_IN = '<a class="button yes" href="/login">Sign in</a>'
GO_ON = '<a class="button yes" href="/">Go on</a>'
SIGN_OUT = '<form method="post" action="/logout"><button>Sign out</button></form>'


def _top(title: str, person: Person | None) -> str:
    who = f"<span>{escape(person.name)}</span>{SIGN_OUT}" if person else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/style.css"></head>'
        f'<body><header><a href="/">Weather Diary</a>{who}</header><main><h1>{escape(title)}</h1>'
    )


_END = "</main></body></html>"


def welcome() -> str:
    """For a visitor who is not signed in."""
    return f"{_top('Your weather, your notes', None)}<p>Sign in to see them. You say what is shared.</p>{SIGN_IN}{_END}"


def home(person: Person, service: Service, me: Mapping[str, Any], notes: Sequence[Note] | None) -> str:
    """The person as the API reports them, and their notes if they share them."""
    facts = "".join(
        f"<li>{escape(key)} <b>{escape(', '.join(map(str, told)) if isinstance(told, list) else str(told))}</b></li>"
        for key, told in list(me.items())[:12]
    )
    parts = [_top(f"Hello, {person.name}", person)]
    if person.user.missing_scopes:
        names = escape(", ".join(person.user.missing_scopes))
        link = '<a class="button" href="/login">Share it</a>'
        parts.append(f"<section><p>You did not share: {names}.</p>{link}</section>")
    if notes is not None:
        listed = "".join(f"<li>{escape(note.text)}</li>" for note in notes)
        field = '<input name="text" aria-label="A new note" placeholder="A new note" required maxlength="200">'
        form = f'<form method="post" action="/notes">{field}<button class="yes">Add</button></form>'
        parts.append(f"<section><h2>Your notes</h2><ul>{listed or '<li>None yet.</li>'}</ul>{form}</section>")
    parts.append(f"<section><h2>What {escape(service.title)} says of you</h2><ul>{facts}</ul></section>")
    if service.listed:
        parts.append('<section><h2>Everything</h2><p>A long list, of which you see each page as it arrives.</p>'
                     '<a class="button" href="/list">Show everything</a></section>')  # fmt: skip
    return "".join([*parts, _END])


async def everything(person: Person, api: WebAPI, service: Service) -> AsyncGenerator[str, None]:
    """A page that grows while the API's pages arrive; send each piece at once."""
    yield f"{_top('Everything', person)}<p class='working'>Still coming ...</p><section><ol>"
    count = 0
    try:
        async for item in api.paginated(service.listed, pages=service.pages, prefetch=True, returns=dict[str, Any]):
            count += 1
            told = [f"{key} {value}" for key, value in item.items() if isinstance(value, str | int)][:3]
            yield f"<li>{count}<b>{escape(', '.join(told)[:200])}</b></li>"
        end = f"<p class='ended'>That is all: {count}.</p>"
    except SlyError as error:
        _, title, text, link = what_to_do(error, signed_in=True)
        end = f"<p class='ended'>{count} came, then it ended. {title}. {text}</p>{link}"
    yield f"</ol>{end}</section>{_END}"


def problem(error: SlyError, person: Person | None) -> tuple[int, str, dict[str, str]]:
    """The status, the page and the headers for an error: what happened, and what to do."""
    status, title, text, link = what_to_do(error, signed_in=person is not None)
    wait = math.ceil(getattr(error, "retry_after", None) or RETRY_SECONDS)
    headers = {**HEADERS, "Retry-After": str(wait)} if status == 503 else HEADERS
    return status, f"{_top(title, person)}<p>{text}</p>{link}{_END}", headers


def what_to_do(error: SlyError, *, signed_in: bool) -> tuple[int, str, str, str]:
    """Status, title, text and link. The error's message is for the log, because it addresses the operator."""
    again = '<a class="button yes" href="/login">Sign in again</a>'
    on = GO_ON if signed_in else again
    match error:
        case DeniedError(denied=True):
            return 403, "You said no", "Nothing was shared. Should you change your mind:", again
        case LoginEndedError():
            return 400, "This sign-in has ended", "It took too long, or it was finished before.", on
        case StateMismatchError():
            text = "It did not begin in this browser, or it was finished before. If you came by a link that somebody"
            return 400, "This sign-in is not yours", f"{text} sent you, close this page.", on
        case GrantEndedError():
            return 401, "Please sign in again", "The access that you gave has ended.", again
        case _ if error.kind == "transient":
            retry = '<a class="button yes" href="/">Try again</a>'
            # the API, the provider, or the store
            return 503, "The other side is away", "It did not answer. Nothing is lost; try again in a moment.", retry
    return 502, "That did not work", "The other side refused, and we have made a note of it.", on


def signed_out(outcome: SignedOut) -> str:
    """The last page, with the way to sign out at the provider too: it may be somebody else's turn at this computer."""
    text = "Your access was ended on the other side, and we have forgotten it."
    if not outcome.confirmed:
        text = "We have forgotten your access. The other side could not be told: end it there too, on its own site."
    there = ""
    if outcome.provider_url:
        # a link, because the policy above lets no form lead to another site
        link = f'<a class="button yes" href="{escape(outcome.provider_url)}">Sign out there, too</a>'
        there = f"<section><p>You may still be signed in where you signed in from.</p>{link}</section>"
    return f"{_top('You are signed out', None)}<p>{text}</p>{there}{SIGN_IN}{_END}"


def signed_out_there() -> str:
    """The page to which the provider leads back after a sign-out."""
    return f"{_top('You are signed out', None)}<p>Here, and where you signed in from.</p>{SIGN_IN}{_END}"


def no_such_page() -> str:
    """For an unknown address, or one that accepts forms only."""
    text = "The address may be mistyped, or the link old."
    return f"{_top('There is no such page', None)}<p>{text}</p>{GO_ON}{_END}"


def refused(text: str) -> str:
    """For a form that did not come from one of our pages."""
    return f"{_top('That was not done', None)}<p>{escape(text)}</p>{_END}"
