"""The command that makes one signed request: call.

The rule: stdout carries the reply and nothing else; the token goes to the origin of the URL and nowhere else.
"""

import asyncio
import sys
from contextlib import AsyncExitStack, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...errors import (
    ApiError,
    BadReplyError,
    ConfigError,
    CredentialsError,
    OriginError,
    RequestTimeoutError,
    TokenError,
)
from ...flow.client_check import client_in
from ...flow.console import Console, report
from ...flow.progress import Progress, waiting
from ...json_file import display_path
from ...oauth2 import OAuth2, OAuth2App, OAuth2User
from ...oauth2.signers.signer import Signer
from ...transport.streaming import Streamed
from ...web.json import check_density, read_reply
from ...web.messages import Reply, Request
from ...web.urls import bare_url
from ...webapi import WebAPI
from ..chosen_user import ChosenUser, chosen_user
from ..refreshing import run_saving_tokens
from ..results import print_result, write_data
from .byte_count import ByteCount
from .json_text import indented, read_as_it_came, written
from .output import check_output, own_files
from .pages import AnyPages
from .request import CallRequest, read_call
from .verbose import traces

TRIES = 3
"""Requests of a download, in which each continues what the last one received."""
_WITH_CLIENT = "Give the client file too, so that the token is refreshed: call APP.json USER.json URL"


def call(args: Any, console: Console) -> int:
    """Sends one signed request, and writes the reply to stdout."""
    request = read_call(args)
    args.user = request.user
    chosen = chosen_user(args)
    app = client_in(request.app, console) if request.app else None
    user = chosen.load()
    console.status = chosen.status
    if args.output and args.output != "-":
        check_output(args.output, own_files(request, app, chosen))
    auth = _signer(app, chosen, user)
    if app is not None and auth.due:
        chosen.check_writable()
    with traces(console, auth) if args.verbose else nullcontext() as trace:
        api = _PagesAsTheyCame(auth, trace_configs=[trace] if trace else ())
        api.base_url = request.origin
        try:
            run_saving_tokens(lambda: _within(args.timeout, api, request, args, console), auth, console, chosen, user)
        except TokenError:
            raise
        except _UnreadableError as unreadable:
            report(console, unreadable.error)
            return 11
        except ApiError as error:
            code = _refused(request, error, args, console)
            if auth.not_saved is not None:
                raise auth.not_saved from None
            return code
        except OriginError as error:
            error.next_step = "Call that URL by itself, if the token belongs there."
            raise
    return 0


class _PagesAsTheyCame(WebAPI):
    """Reads pages so that their items are written with their own digits and all their members."""

    def _read_json(self, request: Request, reply: Reply, *, digits: bool = False) -> Any:
        check_density(reply.body, request, self.reply_limit)
        with suppress(ValueError, RecursionError):
            return read_as_it_came(reply.body.decode())
        return read_reply(reply, request)


def _signer(app: OAuth2App | None, chosen: ChosenUser, user: OAuth2User) -> Signer:
    """Without a client file, signs with the token as it is."""
    if app is not None:
        return chosen.signer(app, user)
    if user.expires_at is not None and user.expires_at <= datetime.now(UTC):
        raise CredentialsError(f"The token of {chosen.label} has expired.", next_step=_WITH_CLIENT)
    # which client it was issued to matters to a refresh alone
    return OAuth2(OAuth2App("", None, "", ""), replace(user, refresh_token=None, issued_to=None, extra={}))


class _UnreadableError(Exception):
    """The API's reply cannot be read: not the token endpoint's, which has an exit code of its own."""

    def __init__(self, error: BadReplyError) -> None:
        self.error = error


async def _within(seconds: float | None, api: WebAPI, request: CallRequest, args: Any, console: Console) -> None:
    auth: Any = api.auth
    async with api:
        if request.app:
            await auth.token()
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await _send(api, request, args, console)
        except TimeoutError:
            if not limit.expired():
                raise
            step = "Give a longer --timeout."
            raise RequestTimeoutError(f"No whole reply within {seconds:g} s.", next_step=step) from None
        except BadReplyError as error:
            raise _UnreadableError(error) from None


async def _send(api: WebAPI, request: CallRequest, args: Any, console: Console) -> None:
    if args.paginate:
        path, params = request.paging()
        pages = AnyPages()
        async for item in api.paginated(path, params, pages=pages, items=args.items, headers=request.headers):
            print_result(_as_line(item))
    elif args.output and args.output != "-":
        with Progress(console, lines=True) as shown:
            count = ByteCount(shown)
            more: Any = {"headers": request.headers, "progress": count.add, "total": count.begin}
            await api.download(request.path, args.output, tries=TRIES, **more)
        console.say(f"{display_path(args.output)} was written.")
    else:
        async with AsyncExitStack() as stack:
            reply = await _begun(stack, api, request, console)
            if args.include:
                _print_head(reply)
            await _print_body(reply)


def _as_line(item: Any) -> str:
    """An item as a line of JSON. Raises `BadReplyError` for one that is nested almost too deeply to be read."""
    with suppress(RecursionError):
        return written(item)
    step = "Leave --paginate out; the page is then written as it is."
    raise BadReplyError("An item of the page is nested too deeply.", next_step=step)


async def _begun(stack: AsyncExitStack, api: WebAPI, request: CallRequest, console: Console) -> Streamed:
    """The reply whose body is still to come; shows how much of a file is sent, or that the reply is waited for."""
    sent: Any = {"method": request.method, "headers": request.headers, "data": request.data}
    if isinstance(request.data, Path):
        with Progress(console, lines=True) as shown:
            count = ByteCount(shown)
            sent |= {"progress": count.add, "total": count.begin}
            return await stack.enter_async_context(api.stream(request.path, **sent))
    async with waiting(console, f"Waiting for {urlsplit(request.origin).hostname}"):
        return await stack.enter_async_context(api.stream(request.path, **sent))


def _refused(request: CallRequest, error: ApiError, args: Any, console: Console) -> int:
    """Writes the API's refusal: its body is data too, unless stdout holds pages or nothing."""
    reply = error.response
    if args.paginate or (args.output and args.output != "-"):
        console.say(str(error.args[0]))
    else:
        if args.include:
            _print_head(reply)
        _print_whole(reply)
        console.say(f"{request.method} {bare_url(reply.url)} was answered with HTTP {error.status}.")
    step = "Check the URL." if error.status == 404 else error.next_step
    step = _WITH_CLIENT if error.status == 401 and not request.app else step
    console.say(f"{console.status} {step}".strip())
    return 10 if error.status < 500 else 11


def _print_head(reply: Reply) -> None:
    phrase = next((known.phrase for known in HTTPStatus if known == reply.status), "")
    head = [f"{name}: {value}" for name, value in reply.headers.items()]
    print_result(f"HTTP/1.1 {reply.status} {phrase}".strip(), *head, "")


def _on_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


async def _print_body(reply: Streamed) -> None:
    """The body as it arrives: its bytes, or on a terminal its text, which cannot control the terminal."""
    if not _on_terminal():
        async for piece in reply.pieces():
            write_data(piece)
    elif _is_json(reply):
        reply.body = await reply.read(WebAPI.reply_limit)
        _print_whole(reply)
    else:
        async for line in reply.lines():
            _check_text(line)
            print_result(line)


def _print_whole(reply: Reply) -> None:
    """A body that was read whole; JSON is indented on a terminal."""
    if not _on_terminal():
        write_data(reply.body)
        return
    text = reply.text()
    _check_text(text)
    if _is_json(reply):
        with suppress(ValueError, RecursionError):
            text = indented(text)
    if text.strip():
        print_result(*text.rstrip("\n").split("\n"))


def _is_json(reply: Reply) -> bool:
    kind = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ConfigError("The reply is not text.", next_step="Give --output FILE, or send stdout to a file.")
