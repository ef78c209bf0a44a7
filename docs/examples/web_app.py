"""A web application of many users, with aiohttp: python docs/examples/web_app.py, then open http://127.0.0.1:8000

It signs people in at a practice provider that it starts itself; `settings.py` says how to use another one.
"""
from __future__ import annotations

import asyncio
import logging
import signal
from argparse import Namespace
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

import pages
from accounts import Accounts, Cookie, Person
from aiohttp import web
from aiohttp.typedefs import Handler
from services import Notes
from settings import accounts_for, listener, read_settings

from SlyAPI import GrantEndedError, SlyError

ACCOUNTS = web.AppKey("ACCOUNTS", Accounts)
log = logging.getLogger("web_app")


def page(html: str, status: int = 200, headers: Mapping[str, str] = pages.HEADERS) -> web.Response:
    return web.Response(text=html, status=status, content_type="text/html", headers=headers)


def to(url: str) -> web.Response:
    return web.Response(status=303, headers={**pages.HEADERS, "Location": url})


def with_cookies(response: web.Response, accounts: Accounts, cookies: Iterable[Cookie]) -> web.Response:
    for cookie in cookies:
        response.set_cookie(cookie.name, cookie.value, max_age=cookie.seconds, **accounts.cookie_flags)
    return response


# --- signing in and out ---


async def login(request: web.Request) -> web.StreamResponse:
    accounts = request.app[ACCOUNTS]
    url, cookies = accounts.begin(request.cookies)
    return with_cookies(to(url), accounts, cookies)


async def callback(request: web.Request) -> web.StreamResponse:
    accounts = request.app[ACCOUNTS]
    try:
        cookies = await accounts.finish(request.cookies, request.query)
    except SlyError as error:
        log.warning("a login failed: %s", error)
        status, html, headers = pages.problem(error, await accounts.person_if_known(request.cookies))
        return with_cookies(page(html, status, headers), accounts, accounts.forget_login(request.query))
    return with_cookies(to("/"), accounts, cookies)  # 303: neither the address bar nor the history keeps the code


async def logout(request: web.Request) -> web.StreamResponse:
    accounts, person = request.app[ACCOUNTS], await signed_in(request, form=True)
    outcome = await accounts.sign_out(person)
    return with_cookies(page(pages.signed_out(outcome)), accounts, accounts.forget_session())


async def signed_out(request: web.Request) -> web.StreamResponse:
    """Where the provider sends the browser after a sign-out there."""
    signed_in_again = await request.app[ACCOUNTS].person_if_known(request.cookies)
    return to("/") if signed_in_again else page(pages.signed_out_there())


async def backchannel_logout(request: web.Request) -> web.StreamResponse:
    """The provider's server says whose sessions ended (OpenID Connect Back-Channel Logout §2.5 and §2.8)."""
    status = await request.app[ACCOUNTS].end_sessions(await form_of(request))
    return web.Response(status=status, headers={"Cache-Control": "no-store"})


async def signed_in(request: web.Request, *, form: bool = False) -> Person:
    """The person who is signed in; others are redirected to the home page. A `form` must come from one of our pages."""
    accounts = request.app[ACCOUNTS]
    if form and not accounts.is_from_here(request.headers):
        html = pages.refused("The form did not come from one of our pages.")
        raise web.HTTPForbidden(text=html, content_type="text/html", headers=pages.HEADERS)
    person = await accounts.person(request.cookies)
    if person is None:
        raise web.HTTPSeeOther("/", headers=pages.HEADERS)
    return person


# --- the pages ---


async def home(request: web.Request) -> web.StreamResponse:
    accounts = request.app[ACCOUNTS]
    person = await accounts.person(request.cookies)
    if person is None:
        return page(pages.welcome())
    api, service = accounts.api(person), accounts.service
    me = await api.get(service.me, returns=dict[str, Any])  # JSON of another shape is a SlyError
    notes = (await api.get(service.notes, returns=Notes)).items if "notes" in person.user.scopes else None
    return page(pages.home(person, service, me, notes))


async def add_note(request: web.Request) -> web.StreamResponse:
    accounts, person = request.app[ACCOUNTS], await signed_in(request, form=True)
    text = (await form_of(request)).get("text", "")
    await accounts.api(person).post_json(accounts.service.notes, json={"text": text[:200]})
    return to("/")


async def form_of(request: web.Request) -> dict[str, str]:
    """The fields of a form, however a stranger may name its type: `request.post()` raises what no page answers."""
    return dict(parse_qsl((await request.read()).decode("utf-8", "replace")))


async def everything(request: web.Request) -> web.StreamResponse:
    accounts, person = request.app[ACCOUNTS], await signed_in(request)
    response = web.StreamResponse(headers=pages.STREAMED)
    await response.prepare(request)
    async for piece in pages.everything(person, accounts.api(person), accounts.service):
        await response.write(piece.encode())
    await response.write_eof()
    return response


async def style(request: web.Request) -> web.StreamResponse:
    return web.Response(text=pages.STYLE, content_type="text/css")


@web.middleware
async def errors_as_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        error.text, error.content_type = pages.no_such_page(), "text/html"
        error.headers.update(pages.HEADERS)
        raise
    except SlyError as error:
        log.warning("%s %s: %s", request.method, request.path, error)
        accounts, ended = request.app[ACCOUNTS], isinstance(error, GrantEndedError)
        person = None if ended else await accounts.person_if_known(request.cookies)
        status, html, headers = pages.problem(error, person)
        return with_cookies(page(html, status, headers), accounts, accounts.forget_session() if ended else ())


def application(accounts: Accounts) -> web.Application:
    site = web.Application(middlewares=[errors_as_pages], client_max_size=100_000)
    site[ACCOUNTS] = accounts
    site.add_routes(
        [
            *(web.get("/", home), web.get("/list", everything), web.get("/style.css", style)),
            *(web.get("/login", login), web.get("/callback", callback)),
            *(web.post("/logout", logout), web.get("/signed-out", signed_out), web.post("/notes", add_note)),
            web.post("/backchannel-logout", backchannel_logout),
        ]
    )
    return site


async def main(settings: Namespace) -> None:
    async with accounts_for(settings) as accounts:
        runner = web.AppRunner(application(accounts))
        await runner.setup()
        await web.SockSite(runner, listener(settings)).start()
        stop = asyncio.Event()
        with suppress(NotImplementedError):  # on Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        print(f"Open {settings.url} (Ctrl-C stops)", flush=True)
        try:
            await stop.wait()  # then running requests are answered, and refreshes are saved
        finally:
            await runner.cleanup()


if __name__ == "__main__":
    logging.basicConfig()
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(main(read_settings()))
    except (SlyError, OSError, ModuleNotFoundError) as error:  # the client file, the store, the port, an extra
        raise SystemExit(f"The application could not run: {error}") from None
