"""One grant, from the consent page to the user's tokens: the steps and their order, whatever the protocol.

The rule: the port before the page, the file before the good news, and nothing changed before success.
"""

import asyncio
import os
import re
import secrets
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit, urlunsplit

from ..errors import (
    ConfigError,
    DeniedError,
    GrantTimeoutError,
    RedirectError,
    SlyError,
    StateMismatchError,
    printable,
)
from ..oauth2 import OAuth2App, OAuth2User
from ..oauth2.authorization_code import AuthorizationURL, read_redirect
from ..redirect.browser import how_to_open, open_browser, proc_version, ssh_hint
from ..redirect.loopback import Arrival, Loopback, page
from ..tokens.client_auth import ClientAuth
from ..web.urls import check_endpoint, is_loopback_uri
from .console import Console, NoAnswerError

DEFAULT_REDIRECT_URI = "http://localhost:8080"
_MOST_WRONG = 3
_WITH_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?!\d)")  # not `localhost:8080`


@dataclass
class GrantOptions:
    """How to reach the person. `port` and `bind` say where to listen, `timeout` (seconds) how long for.

    `client_auth`, where the person named it, is remembered in the user, so that a refresh asks the same way.
    """

    redirect_uri: str | None = None
    port: int | None = None
    bind: str | None = None
    timeout: float = 300.0
    browser: bool = True
    paste: bool = False
    client_auth: ClientAuth | None = None
    auth_params: Mapping[str, str] = field(default_factory=dict)
    open_page: Callable[[str], Awaitable[bool]] = open_browser


U = TypeVar("U")
Save = Callable[[U], None]


class Answer(NamedTuple):
    """The code, and the browser that waits for a page where one brought it; prints neither."""

    code: str
    arrival: Arrival | None

    def __repr__(self) -> str:
        return "<Answer>"


class Question(ABC, Generic[U]):
    """What one person is asked, and what becomes of the answer."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The provider's page, where the person is asked."""

    @abstractmethod
    def read(self, query: str) -> str:
        """The code in a redirect's query or a pasted address. Raises `RedirectError`."""

    @property
    def takes_bare_code(self) -> bool:
        """Whether a code without its state may be pasted: only if something else ties it to this question."""
        return False

    @abstractmethod
    async def exchange(self, code: str) -> U:
        """The user that the code is traded for. Raises `SlyError`."""

    def granted(self, user: U) -> list[str]:
        """Lines for the page that says that it worked."""
        return []


Ask = Callable[[str], Awaitable[Question[U]]]
"""The question that sends its answer to this redirect URI."""


@dataclass
class _OAuth2Question(Question[OAuth2User]):
    app: OAuth2App
    scopes: list[str]
    redirect_uri: str
    client_auth: ClientAuth | None
    link: AuthorizationURL

    @property
    def url(self) -> str:
        return self.link.url

    def read(self, query: str) -> str:
        known = self.app.provider
        issuer = self.app.issuer or (known.issuer if known else None)
        return read_redirect(query, state=self.link.state, issuer=issuer, issuer_required=self.app.iss_in_redirect)

    @property
    def takes_bare_code(self) -> bool:
        return bool(self.link.verifier)  # PKCE, in the state's place

    async def exchange(self, code: str) -> OAuth2User:
        exchange = self.app.exchange_code(code, self.link.verifier, self.scopes, self.redirect_uri)
        del code  # so that no traceback shows it
        user = await exchange
        user.client_auth = self.client_auth or user.client_auth
        return user

    def granted(self, user: OAuth2User) -> list[str]:
        lines = ["Granted:", *user.scopes] if user.scopes else []
        return [*lines, "", "Not granted:", *user.missing_scopes] if user.missing_scopes else lines


async def grant(
    app: OAuth2App, scopes: list[str], options: GrantOptions, console: Console, save: Save[OAuth2User]
) -> OAuth2User:
    """The user who consented, saved. Listens for the redirect, or takes the pasted address.

    Raises `DeniedError`, `RedirectError`, `GrantTimeoutError`, `ListenError`, `ConfigError`, and what
    the exchange and `save` raise; then nothing was saved.
    """
    check_endpoint(app.auth_uri, "auth_uri", allow_http=app.allow_http)
    check_endpoint(app.token_uri, "token_uri", allow_http=app.allow_http)

    async def ask(redirect_uri: str) -> Question[OAuth2User]:
        if not _WITH_SCHEME.match(redirect_uri):
            raise ConfigError(
                f"The redirect URI {printable(redirect_uri, 200)!r} is no URI.",
                next_step=f"Give the one that is registered, such as {DEFAULT_REDIRECT_URI}.",
            )
        state = secrets.token_urlsafe(24)  # 192 bits; RFC 6749 §10.10 wants at least 128
        link = app.auth_url_with_pkce(redirect_uri, state, scopes, auth_params=options.auth_params)
        return _OAuth2Question(app, scopes, redirect_uri, options.client_auth, link)

    known = app.provider
    usual = app.redirect_uri or (known.redirect_uri if known else DEFAULT_REDIRECT_URI)
    return await grant_by(ask, usual, options, console, save)


async def grant_by(
    ask: Ask[U], usual_redirect_uri: str, options: GrantOptions, console: Console, save: Save[U]
) -> U:
    """As `grant`, for any protocol's question."""
    redirect_uri = choose_redirect_uri(usual_redirect_uri, options)
    if options.paste or not is_loopback_uri(redirect_uri):
        return await _by_paste(ask, redirect_uri, options, console, save)
    return await _by_listening(ask, redirect_uri, options, console, save)


async def _within(seconds: float, answer: Awaitable[Answer]) -> Answer:
    """The person's answer. The time limit is theirs: what comes after the answer has limits of its own."""
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError:
        pass
    raise GrantTimeoutError(
        f"Nobody answered the consent page within {seconds:g} s.",
        next_step="Run grant again when ready. If the page showed an error, check the client id, and that exactly "
        "the redirect URI in its address is registered.",
    )


def choose_redirect_uri(usual: str, options: GrantOptions) -> str:
    """The flag's redirect URI, else the client's or provider's usual one; with `--port` put in.

    A `--redirect-uri` stays byte for byte as given, and `--port` then only says where to listen.
    """
    if options.redirect_uri:
        return options.redirect_uri
    if options.port is None or not is_loopback_uri(usual):
        return usual
    parts = urlsplit(usual)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return urlunsplit(parts._replace(netloc=f"{host}:{options.port}"))


async def _by_listening(
    ask: Ask[U], redirect_uri: str, options: GrantOptions, console: Console, save: Save[U]
) -> U:
    port = options.port if options.redirect_uri else None
    async with await Loopback.open(redirect_uri, port=port, bind=options.bind) as loopback:
        asked = await ask(loopback.redirect_uri)
        _show(console, asked)
        opened = options.browser and await options.open_page(asked.url)
        _say_how(console, loopback.redirect_uri, opened, options)
        typed = None
        if console.interactive or not opened:
            # a code alone is taken only where the person was told to bring one
            typed = _pasted(asked, console, codes=not opened, end_is_no_answer=False)
        answer = _first_answer(_redirected(asked, loopback, console), typed)
        found = await _within(options.timeout, answer)
        arrival = found.arrival
        try:
            user = await asked.exchange(found.code)
            save(user)
        except SlyError as error:
            if arrival is not None:
                await arrival.answer(400, _failure_page("The sign-in could not be finished.", error))
            raise
        if arrival is not None:
            await arrival.answer(200, _success_page(asked, user))
        return user


async def _by_paste(
    ask: Ask[U], redirect_uri: str, options: GrantOptions, console: Console, save: Save[U]
) -> U:
    # nothing listens, so any port will do; browsers refuse to go to port 0
    redirect_uri = re.sub(r"^(http://[^/?]+):0(?=[/?]|$)", r"\1", redirect_uri)
    asked = await ask(redirect_uri)
    _show(console, asked)
    if options.browser and not options.paste:
        await options.open_page(asked.url)
    console.say(
        "After consenting, copy the whole address that the browser ends on (the page",
        "itself may fail to load), or the code that the provider shows. Paste it here",
        "and press Enter:",
    )
    found = await _within(options.timeout, _pasted(asked, console, codes=True, end_is_no_answer=True))
    user = await asked.exchange(found.code)
    save(user)
    return user


def _show(console: Console, asked: Question[U]) -> None:
    console.say(console.strong("Open this page in a browser and consent:"), "", asked.url, "")


def _say_how(console: Console, redirect_uri: str, opened: bool, options: GrantOptions) -> None:
    if opened:
        console.say("The browser was opened. Waiting for you to consent there (Ctrl-C stops).")
    else:
        environ = {name: value for name, value in os.environ.items() if options.browser or name != "BROWSER"}
        how = how_to_open(environ, sys.platform, proc_version())
        why = getattr(how, "text", "") if options.browser else "as asked (--no-browser)."
        console.say(f"No browser was opened: {why or 'none could be started.'}")
        reason = getattr(how, "reason", "") or ("wsl" if "microsoft" in proc_version().lower() else "")
        _say_way_in(console, reason, redirect_uri, options)
        console.say(f"Waiting for the redirect to {redirect_uri} (Ctrl-C stops).")
    if console.interactive:
        console.say("Is the browser on another machine? Paste the address that it ends on here:")


def _say_way_in(console: Console, reason: str, redirect_uri: str, options: GrantOptions) -> None:
    """How a browser elsewhere gets to the listener."""
    port = options.port or urlsplit(redirect_uri).port or 80
    if reason == "ssh":
        console.say("To use the browser of your own machine, run there, before you open the page:")
        console.say("", f"    {ssh_hint(os.environ, port)}", "")
    elif reason == "wsl":
        console.say("This is WSL: open the page in a browser of Windows, which reaches localhost here. If the last")
        console.say("page does not load there, run this command again with:", "", "    --paste", "")
    elif reason == "container" and options.bind is None:
        port = options.port or 8080  # of this run's free port nobody could know beforehand
        console.say("To use a browser outside, start the container and this command again with:")
        console.say("", f"    -p 127.0.0.1:{port}:{port}", f"    --bind 0.0.0.0 --port {port}", "")


async def _first_answer(
    redirected: Coroutine[None, None, Answer], typed: Coroutine[None, None, Answer] | None
) -> Answer:
    """Whichever comes first, the redirect or the pasted address."""
    racing = {asyncio.ensure_future(answer) for answer in (redirected, typed) if answer is not None}
    try:
        while racing:
            done, racing = await asyncio.wait(racing, return_when=asyncio.FIRST_COMPLETED)
            for answer in done:
                if answer.exception() or answer.result()[0]:
                    return answer.result()
    finally:
        for waiting in racing:
            waiting.cancel()
        await asyncio.gather(*racing, return_exceptions=True)
    raise RedirectError("No redirect came.")


async def _redirected(asked: Question[U], loopback: Loopback, console: Console) -> Answer:
    """The code of the first redirect that answers our question, with the browser that still waits."""
    told = False
    async for arrival in loopback.arrivals():
        try:
            code = asked.read(arrival.query)
        except StateMismatchError as error:
            await arrival.answer(400, _failure_page("This page belongs to another attempt.", error))
            if not told:
                console.say("A redirect with a wrong state came and was ignored; still waiting.")
            told = True
        except RedirectError as error:
            denied = isinstance(error, DeniedError) and error.denied
            title = "Access was denied" if denied else "Not connected"
            await arrival.answer(403 if denied else 400, _failure_page("Nothing was changed.", error, title))
            raise error.with_traceback(None) from None  # whose frames hold the redirect
        else:
            return Answer(code, arrival)
    raise RedirectError("The listener ended before a redirect came.")


async def _pasted(
    asked: Question[U], console: Console, *, codes: bool, end_is_no_answer: bool
) -> Answer:
    """The code in the first pasted line that answers our question; empty at the end of the input."""
    wrong = 0
    async with aclosing(console.lines()) as lines:
        async for line in lines:
            if not line:
                continue
            if codes and asked.takes_bare_code and _is_bare_code(line):
                return Answer(line, None)
            try:
                return Answer(asked.read(line), None)
            except DeniedError as denied:
                del line  # so that no traceback shows it
                raise denied.with_traceback(None) from None
            except RedirectError as error:
                console.say(f"{error.args[0]}", "Paste the address that the browser ends on:")
            wrong += 1
            if wrong >= _MOST_WRONG and not console.interactive:
                break  # `yes | ...` would go on for ever
    line = ""  # so that no traceback shows it
    if end_is_no_answer:
        raise NoAnswerError("No address came on stdin.", next_step="Run grant on a terminal, or without --paste.")
    return Answer(line, None)


def _is_bare_code(line: str) -> bool:
    marks = ("=", "?", "&", " ", "://")
    return not any(mark in line.rstrip("=") for mark in marks) and line.isprintable() and len(line) >= 4


def _failure_page(message: str, error: SlyError, title: str = "Not connected") -> str:
    return page(title, message, ok=False, details=str(error))


def _success_page(asked: Question[U], user: U) -> str:
    host = printable(urlsplit(asked.url).hostname or "the provider", 80)
    details = "\n".join(asked.granted(user))
    return page("Connected", f"Access to {host} was granted and saved.", ok=True, details=details)
