"""One grant, from the consent page to the saved tokens: the steps and their order, for any protocol.

The rule: listen before the page opens, save before the browser is answered, change nothing before success.
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
from typing import Any, Generic, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit, urlunsplit

from ..errors import (
    ConfigError,
    DeniedError,
    GrantTimeoutError,
    RedirectError,
    SlyError,
    StateMismatchError,
    clean_traceback,
    printable,
)
from ..oauth2 import OAuth2App, OAuth2User
from ..oauth2.client.login import Login
from ..oauth2.from_url.resource_login import ResourceLogin
from ..oauth2.messages.authorization_code import AuthorizationURL, read_redirect
from ..redirect.browser import Machine, open_browser, proc_version, ways_to_a_browser
from ..redirect.loopback import Loopback, Redirect, page
from ..redirect.loopback_address import check_redirect_uri
from ..tokens.client_auth import ClientAuth
from ..web.urls import check_endpoint, is_loopback_uri
from .console import Console, NoAnswerError
from .progress import waiting

DEFAULT_REDIRECT_URI = "http://localhost:8080"
_MAX_WRONG_PASTES = 3


Way = Literal["browser", "device", "browser or device", "machine"]
"""`browser or device`: a device's code where no browser can be opened. `machine`: without a person."""


@dataclass
class GrantOptions:
    """How to reach the user: `port` and `bind` are where to listen, `timeout` is in seconds.

    `client_auth`, if the user chose it, is saved with the tokens, so that a refresh authenticates in the same way.
    """

    redirect_uri: str | None = None
    port: int | None = None
    bind: str | None = None
    timeout: float = 300.0
    browser: bool = True
    paste: bool = False
    client_auth: ClientAuth | None = None
    way: Way = "browser"
    device_timeout: float | None = None
    """Seconds for a login on another device; None for the life of its code."""
    auth_params: Mapping[str, str] = field(default_factory=dict)
    token_params: Mapping[str, str] = field(default_factory=dict)
    resource: ResourceLogin | None = None
    """Where the grant begins at a resource's URL."""
    open_page: Callable[[str], Awaitable[bool]] = open_browser
    machine: Machine = field(default_factory=lambda: Machine(os.environ, sys.platform, proc_version()))


U = TypeVar("U")
Save = Callable[[U], Coroutine[Any, Any, None]]
"""Makes the tokens durable. Raises `SaveError`. A coroutine, so that type checkers find a call without `await`."""


class Answer(NamedTuple):
    """The code, and the redirect that brought it unless it was pasted; `repr` shows neither."""

    code: str
    redirect: Redirect | None

    def __repr__(self) -> str:
        return "<Answer>"


class Question(ABC, Generic[U]):
    """One authorization request to the user, and what its answer is exchanged for."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The provider's consent page."""

    @abstractmethod
    async def read(self, query: str) -> str:
        """The code in a redirect's query or a pasted address. Raises `RedirectError`."""

    @property
    def takes_bare_code(self) -> bool:
        """Whether a code may be pasted without its state: only if something else ties it to this request."""
        return False

    @abstractmethod
    async def exchange(self, code: str) -> U:
        """The user for the code. Raises `SlyError`."""

    def granted(self, user: U) -> list[str]:
        """Lines for the success page."""
        return []


Ask = Callable[[str], Awaitable[Question[U]]]
"""Makes the question whose answer goes to this redirect URI."""


@dataclass
class OAuth2Question(Question[OAuth2User]):
    """A login at the provider of `app`, for the API `resource` (RFC 8707) where that is not the client's."""

    app: OAuth2App
    scopes: list[str]
    redirect_uri: str
    client_auth: ClientAuth | None
    link: AuthorizationURL | Login
    resource: str | None = None
    token_params: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.link.url

    async def read(self, query: str) -> str:
        query = await self.app._plain_redirect(self.link.state, query)
        issuer, required = self.app._redirect_issuer, self.app.iss_in_redirect
        return read_redirect(query, state=self.link.state, issuer=issuer, issuer_required=required)

    @property
    def takes_bare_code(self) -> bool:
        # PKCE instead of the state; a profile or a signed response needs the whole address
        return bool(self.link.verifier) and self.app.profile is None and self.app.response_mode is None

    async def exchange(self, code: str) -> OAuth2User:
        key = getattr(self.link, "dpop_key", None)
        user = await self.app.exchange_code(
            code,
            self.link.verifier,
            self.scopes,
            self.redirect_uri,
            resource=self.resource,
            dpop_key=key,
            token_params=self.token_params,
        )
        user.client_auth = self.client_auth or user.client_auth
        return user

    def granted(self, user: OAuth2User) -> list[str]:
        lines = ["Granted:", *user.scopes] if user.scopes else []
        return [*lines, "", "Not granted:", *user.missing_scopes] if user.missing_scopes else lines


@clean_traceback
async def grant(
    app: OAuth2App, scopes: list[str], options: GrantOptions, console: Console, save: Save[OAuth2User]
) -> OAuth2User:
    """The user, already saved. Raises `DeniedError`, `RedirectError`, `GrantTimeoutError`, `ListenError`, as `save`."""
    check_endpoint(app.auth_uri, "auth_uri", allow_http=app.allow_http)
    check_endpoint(app.token_uri, "token_uri", allow_http=app.allow_http)

    async def ask(redirect_uri: str) -> Question[OAuth2User]:
        link = await new_link(app, redirect_uri, scopes, options)
        return OAuth2Question(
            app, scopes, redirect_uri, options.client_auth, link, token_params=options.token_params
        )

    known = app.provider
    usual = app.redirect_uri or (known.redirect_uri if known else DEFAULT_REDIRECT_URI)
    return await grant_by(ask, usual, options, console, save)


async def new_link(
    app: OAuth2App, redirect_uri: str, scopes: list[str], options: GrantOptions, resource: str | None = None
) -> AuthorizationURL | Login:
    """The address of the consent page, with a fresh state; pushed where the server requires it (RFC 9126)."""
    check_redirect_uri(redirect_uri)
    if app.response_mode == "form_post.jwt":
        raise ConfigError(
            "With the response_mode form_post.jwt, the code comes in a form, which only a web application receives.",
            next_step='Put "response_mode": "query.jwt" into the client file.',
        )
    params = options.auth_params
    if app.require_par or app.sign_requests:
        return await app._new_login(redirect_uri, scopes, auth_params=params, resource=resource)
    state = secrets.token_urlsafe(24)  # 192 bits; RFC 6749 §10.10 requires at least 128
    return app.auth_url_with_pkce(redirect_uri, state, scopes, auth_params=params, resource=resource)


async def grant_by(ask: Ask[U], usual_redirect_uri: str, options: GrantOptions, console: Console, save: Save[U]) -> U:
    """As `grant`, for the question of any protocol."""
    redirect_uri = choose_redirect_uri(usual_redirect_uri, options)
    if options.paste or not is_loopback_uri(redirect_uri):
        return await _by_paste(ask, redirect_uri, options, console, save)
    return await _by_listening(ask, redirect_uri, options, console, save)


async def _within(seconds: float, answer: Awaitable[Answer]) -> Answer:
    """The user's answer. The time limit ends with it; the exchange has limits of its own."""
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError:
        raise GrantTimeoutError(
            f"Nobody answered the consent page within {seconds:g} s.",
            next_step="Run grant again. If the page showed an error, check the client id, and that exactly "
            "the redirect URI in its address is registered.",
        ) from None


def choose_redirect_uri(usual: str, options: GrantOptions) -> str:
    """`--redirect-uri` byte for byte, else the usual one, with the port of `--port`."""
    if options.redirect_uri:
        return options.redirect_uri
    if options.port is None or not is_loopback_uri(usual):
        return usual
    parts = urlsplit(usual)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return urlunsplit(parts._replace(netloc=f"{host}:{options.port}"))


async def _by_listening(ask: Ask[U], redirect_uri: str, options: GrantOptions, console: Console, save: Save[U]) -> U:
    port = options.port if options.redirect_uri else None
    async with await Loopback.open(redirect_uri, port=port, bind=options.bind) as loopback:
        question = await ask(loopback.redirect_uri)
        _show(console, question)
        opened = options.browser and await options.open_page(question.url)
        _say_how(console, loopback.redirect_uri, opened, options)
        typed = None
        if console.interactive or not opened:
            # a code without its state is accepted only where the user was asked to bring one
            typed = _pasted(question, console, codes=not opened, end_is_no_answer=False)
        answer = await _within(options.timeout, _first_answer(_redirected(question, loopback, console), typed))
        try:
            user = await _exchanged(question, answer.code, save, console)
        except SlyError as error:
            if answer.redirect is not None:
                await answer.redirect.answer(400, _failure_page("The sign-in could not be finished.", error))
            raise
        if answer.redirect is not None:
            await answer.redirect.answer(200, _success_page(question, user))
        return user


async def _by_paste(ask: Ask[U], redirect_uri: str, options: GrantOptions, console: Console, save: Save[U]) -> U:
    # nothing listens, so any port works, but browsers refuse port 0
    redirect_uri = re.sub(r"^(http://[^/?]+):0(?=[/?]|$)", r"\1", redirect_uri)
    question = await ask(redirect_uri)
    _show(console, question)
    if options.browser and not options.paste:
        await options.open_page(question.url)
    console.say(
        "After you consent, copy the whole address of the last page (the page itself may fail to load), or the code "
        "that the provider shows. Paste it here and press Enter:"
    )
    answer = await _within(options.timeout, _pasted(question, console, codes=True, end_is_no_answer=True))
    return await _exchanged(question, answer.code, save, console)


async def _exchanged(question: Question[U], code: str, save: Save[U], console: Console) -> U:
    async with waiting(console, "Exchanging the code for tokens"):
        user = await question.exchange(code)
    await save(user)
    return user


def _show(console: Console, question: Question[U]) -> None:
    console.say("", question.url, "", heading="Open this page in a browser and consent:")


def _say_how(console: Console, redirect_uri: str, opened: bool, options: GrantOptions) -> None:
    if opened:
        console.say("The browser is open. Waiting for your consent there (Ctrl-C stops).")
    else:
        port = options.port or urlsplit(redirect_uri).port or 80
        console.say(*ways_to_a_browser(options.machine, port, options.port, options.bind, wanted=options.browser))
        console.say(f"Waiting for the redirect to {redirect_uri} (Ctrl-C stops).")
    if console.interactive:
        console.say("Is the browser on another machine? Paste the address of its last page here:")


async def _first_answer(
    redirected: Coroutine[None, None, Answer], typed: Coroutine[None, None, Answer] | None
) -> Answer:
    """The redirect or the pasted address, whichever comes first."""
    racing = {asyncio.ensure_future(answer) for answer in (redirected, typed) if answer is not None}
    try:
        while racing:
            done, racing = await asyncio.wait(racing, return_when=asyncio.FIRST_COMPLETED)
            for answer in done:
                if answer.exception() or answer.result().code:
                    return answer.result()
    finally:
        for waiting in racing:
            waiting.cancel()
        await asyncio.gather(*racing, return_exceptions=True)
    raise RedirectError("No redirect came.")


async def _redirected(question: Question[U], loopback: Loopback, console: Console) -> Answer:
    """The code of the first redirect that answers the question, and its browser, which still waits for a page."""
    warned = False
    async for redirect in loopback.redirects():
        try:
            return Answer(await question.read(redirect.query), redirect)
        except StateMismatchError as error:
            await redirect.answer(400, _failure_page("This page belongs to another attempt.", error))
            if not warned:
                console.say("Ignored a redirect with a wrong state. Still waiting.")
            warned = True
        except RedirectError as error:
            denied = isinstance(error, DeniedError) and error.denied
            title = "Access was denied" if denied else "Not connected"
            await redirect.answer(403 if denied else 400, _failure_page("Nothing was changed.", error, title))
            raise
    raise RedirectError("The listener closed before a redirect came.")


async def _pasted(question: Question[U], console: Console, *, codes: bool, end_is_no_answer: bool) -> Answer:
    """The code in the first pasted line that answers the question; empty at the end of the input."""
    wrong = 0
    async with aclosing(console.lines()) as lines:
        async for line in lines:
            if not line:
                continue
            if codes and question.takes_bare_code and _is_bare_code(line):
                return Answer(line, None)
            try:
                return Answer(await question.read(line), None)
            except DeniedError:
                raise
            except RedirectError as error:
                console.say(f"{error.args[0]}", "Paste the address of the browser's last page:")
            wrong += 1
            if wrong >= _MAX_WRONG_PASTES and not console.interactive:
                break  # input such as `yes | ...` never ends
    if end_is_no_answer:
        raise NoAnswerError("No address came on stdin.", next_step="Run grant on a terminal, or without --paste.")
    return Answer("", None)


def _is_bare_code(line: str) -> bool:
    marks = ("=", "?", "&", " ", "://")
    return not any(mark in line.rstrip("=") for mark in marks) and line.isprintable() and len(line) >= 4


def _failure_page(message: str, error: SlyError, title: str = "Not connected") -> str:
    return page(title, message, ok=False, details=str(error))


def _success_page(question: Question[U], user: U) -> str:
    host = printable(urlsplit(question.url).hostname or "the provider", 80)
    details = "\n".join(question.granted(user))
    return page("Connected", f"Access to {host} was granted and saved.", ok=True, details=details)
