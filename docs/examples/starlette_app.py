"""The same with Starlette: python docs/examples/starlette_app.py (pip install '.[jose]' starlette uvicorn)."""
from __future__ import annotations

import asyncio
import logging
from argparse import Namespace
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl

import pages
import uvicorn
from accounts import Accounts, Cookie, Person
from services import Notes
from settings import accounts_for, listener, read_settings
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from SlyAPI import GrantEndedError, SlyError

log = logging.getLogger("starlette_app")


def answer(response: Response, accounts: Accounts, cookies: list[Cookie]) -> Response:
    response.headers.update(pages.HEADERS)
    for cookie in cookies:
        response.set_cookie(cookie.name, cookie.value, max_age=cookie.seconds, **accounts.cookie_flags)
    return response


async def login(request: Request) -> Response:
    url, cookies = request.state.accounts.begin(request.cookies)
    return answer(RedirectResponse(url, 303), request.state.accounts, cookies)


async def callback(request: Request) -> Response:
    accounts: Accounts = request.state.accounts
    try:
        cookies = await accounts.finish(request.cookies, request.query_params)
    except SlyError as error:
        log.warning("a login failed: %s", error)
        status, html, headers = pages.problem(error, await accounts.person_if_known(request.cookies))
        return answer(HTMLResponse(html, status, headers), accounts, accounts.forget_login(request.query_params))
    return answer(RedirectResponse("/", 303), accounts, cookies)


async def logout(request: Request) -> Response:
    accounts, person = request.state.accounts, await signed_in(request, form=True)
    outcome = await accounts.sign_out(person)
    return answer(HTMLResponse(pages.signed_out(outcome)), accounts, accounts.forget_session())


async def signed_out(request: Request) -> Response:
    accounts: Accounts = request.state.accounts
    signed_in_again = await accounts.person_if_known(request.cookies)
    page = RedirectResponse("/", 303) if signed_in_again else HTMLResponse(pages.signed_out_there())
    return answer(page, accounts, [])


async def backchannel_logout(request: Request) -> Response:
    status = await request.state.accounts.end_sessions(await form_of(request))
    return Response(status_code=status, headers={"Cache-Control": "no-store"})


async def signed_in(request: Request, *, form: bool = False) -> Person:
    accounts: Accounts = request.state.accounts
    if form and not accounts.is_from_here(request.headers):
        raise HTTPException(403, "The form did not come from one of our pages.")
    person = await accounts.person(request.cookies)
    if person is None:
        raise HTTPException(303, headers={"Location": "/"})
    return person


async def home(request: Request) -> Response:
    accounts: Accounts = request.state.accounts
    person = await accounts.person(request.cookies)
    if person is None:
        return answer(HTMLResponse(pages.welcome()), accounts, [])
    api, service = accounts.api(person), accounts.service
    me = await api.get(service.me, returns=dict[str, Any])  # JSON of another shape is a SlyError
    notes = (await api.get(service.notes, returns=Notes)).items if "notes" in person.user.scopes else None
    return answer(HTMLResponse(pages.home(person, service, me, notes)), accounts, [])


async def add_note(request: Request) -> Response:
    accounts, person = request.state.accounts, await signed_in(request, form=True)
    text = (await form_of(request)).get("text", "")
    await accounts.api(person).post_json(accounts.service.notes, json={"text": text[:200]})
    return answer(RedirectResponse("/", 303), accounts, [])


async def form_of(request: Request) -> dict[str, str]:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > 100_000:  # Starlette itself has no limit
            raise HTTPException(413, "The form is too long.")
    return dict(parse_qsl(body.decode("utf-8", "replace")))


async def everything(request: Request) -> Response:
    accounts, person = request.state.accounts, await signed_in(request)
    pieces = pages.everything(person, accounts.api(person), accounts.service)
    return StreamingResponse(pieces, headers=pages.STREAMED)


async def style(request: Request) -> Response:
    return Response(pages.STYLE, media_type="text/css")


async def error_as_page(request: Request, error: Exception) -> Response:
    accounts: Accounts = request.state.accounts
    assert isinstance(error, SlyError)
    log.warning("%s %s: %s", request.method, request.url.path, error)
    ended = isinstance(error, GrantEndedError)
    person = None if ended else await accounts.person_if_known(request.cookies)
    status, html, headers = pages.problem(error, person)
    return answer(HTMLResponse(html, status, headers), accounts, accounts.forget_session() if ended else [])


async def refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    html = pages.no_such_page() if error.status_code in (404, 405) else pages.refused(error.detail)
    return answer(HTMLResponse(html, error.status_code, error.headers), request.state.accounts, [])


def application(open_accounts: Callable[[], AbstractAsyncContextManager[Accounts]]) -> Starlette:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[dict[str, Accounts], None]:
        async with open_accounts() as accounts:
            yield {"accounts": accounts}

    routes = [
        *(Route("/", home), Route("/list", everything), Route("/style.css", style)),
        *(Route("/login", login), Route("/callback", callback)),
        *(Route("/logout", logout, methods=["POST"]), Route("/signed-out", signed_out)),
        Route("/backchannel-logout", backchannel_logout, methods=["POST"]),
        Route("/notes", add_note, methods=["POST"]),
    ]
    handlers = {SlyError: error_as_page, HTTPException: refusal}
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)


async def try_out(settings: Namespace) -> None:
    """Raises what is wrong with the settings; within uvicorn it would be a traceback."""
    async with accounts_for(settings):
        pass


if __name__ == "__main__":
    logging.basicConfig()
    settings = read_settings()
    try:
        socket = listener(settings)
        asyncio.run(try_out(settings))
    except (SlyError, OSError, ModuleNotFoundError) as error:  # the client file, the store, the port, an extra
        raise SystemExit(f"The application could not run: {error}") from None
    print(f"Open {settings.url} (Ctrl-C stops)", flush=True)
    config = uvicorn.Config(application(lambda: accounts_for(settings)), log_level="warning")
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[socket])
