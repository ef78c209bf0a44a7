"""WebAPI: the class an API client derives from. Knows `Auth`, not OAuth.

The rule: a method builds a request, hands it to `signed_call`, and reads the answer as its name says.
"""

import os
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, is_dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, TypeVar, Unpack, overload

from ..auth.contract import Auth
from ..errors import ApiError, BadReplyError
from ..paging import ItemsAt, Page, Pages, TokenPages
from ..transport.bodies import Body, Progress, Total, form_of
from ..transport.requests import REPLY_LIMIT, fetch
from ..transport.sessions import Sessions, load_aiohttp
from ..transport.streaming import Streamed, begin, fetch_patiently
from ..web.json import JsonMap, read_json
from ..web.messages import Method, ParamsDict, Reply, Request
from ..web.params import as_query
from .lazy import AsyncLazy, PagedLazy
from .page_walk import Ask, read_pages, walk
from .signed_call import Fetch, origin_of, signed_call
from .verbs import Asked, Headers, Params, Verbs

if TYPE_CHECKING:
    from aiohttp import ClientSession, TraceConfig
    from typing_extensions import TypeForm

    from ..limits import Limits
    from ..retry import Retry

__all__ = ["JsonMap", "WebAPI", "is_dataclass_instance"]

T = TypeVar("T")
JsonObject = dict[str, Any]
GET = Method.GET  # which Python 3.11 looks up by three calls


class Paging(TypedDict, total=False):
    """What `paginated` takes by name."""

    pages: Pages
    items: str | None
    headers: Headers
    prefetch: bool


class WebAPI(Verbs):
    """One web API, as one user. Set `base_url` and write methods that call `get_json` and its siblings.

    `auth` signs every request. `use_form_data`: bodies of `_post` and its siblings are forms, not
    JSON. `session`: an `aiohttp.ClientSession` of yours, which stays yours to close; without one, each
    event loop gets its own on first use, closed when the loop ends or by `close()` and `async with`.
    `trace_configs`: hear of the requests of those sessions, never of token requests (docs/observing.md).
    `reply_limit`: bytes of a reply that are read, decompressed. `retry` (`SlyAPI.retry.Retry`): which calls
    are tried again; `limits` (`SlyAPI.limits.Limits`): how many may be under way, how fast they go out. Both
    are off unless given here or as class attributes; a class's `limits` are shared by all its objects.
    Every method raises `ApiError` for a status of 400 or more, else another `SlyError`.
    """

    __module__ = "SlyAPI.webapi"

    base_url: str = ""
    reply_limit = REPLY_LIMIT
    retry: "Retry | None" = None
    limits: "Limits | None" = None
    _parameter_list_delimiter = ","
    # made when they are needed, for a program may hold very many clients
    _session: "ClientSession | None" = None
    _sessions: Sessions | None = None

    def __init__(
        self,
        auth: Auth,
        use_form_data: bool = False,
        *,
        session: "ClientSession | None" = None,
        trace_configs: "Sequence[TraceConfig]" = (),
        retry: "Retry | None" = None,
        limits: "Limits | None" = None,
    ) -> None:
        self.auth = auth
        self.use_form_data = use_form_data
        if session is not None:
            self._session = session
        else:
            load_aiohttp()  # here, where a program sets itself up, and not at its first await
        if trace_configs:
            self._sessions = Sessions(trace_configs)
        if retry is not None or limits is not None:
            from .retried_call import check_policies

            check_policies(retry, limits)
        if retry is not None:
            self.retry = retry
        if limits is not None:
            self.limits = limits

    # --- the session ---

    @property
    def _client(self) -> "ClientSession":
        if self._session is not None:
            return self._session
        if self._sessions is None:
            self.__dict__.setdefault("_sessions", Sessions())  # another thread may do the same now
            assert self._sessions is not None
        return self._sessions.get()

    async def close(self) -> None:
        """Closes this event loop's session, unless it is the caller's own. A later call makes a new one."""
        await self.auth.wait_for_refresh()
        if self._sessions is not None:
            await self._sessions.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- JSON in, JSON out ---

    async def get_json(
        self, path: str, params: Params = None, json: Any = None, headers: Headers = None
    ) -> JsonObject:
        """GET, and the JSON of the answer whatever its Content-Type says."""
        request = self._create_request(GET, path, params, json, headers)
        reply = await self._send(request)
        if reply.status == 204:
            raise _no_content(request, reply)
        return read_json(reply.body, request)  # type: ignore[no-any-return]

    async def post_json(
        self, path: str, params: Params = None, json: Any = None, headers: Headers = None
    ) -> JsonObject:
        """POST with a JSON body, and the JSON of the answer."""
        return await self._json(self._create_request(Method.POST, path, params, json, headers))

    async def put_json(
        self, path: str, params: Params = None, json: Any = None, headers: Headers = None
    ) -> JsonObject:
        """PUT with a JSON body, and the JSON of the answer."""
        return await self._json(self._create_request(Method.PUT, path, params, json, headers))

    async def patch_json(
        self, path: str, params: Params = None, json: Any = None, headers: Headers = None
    ) -> JsonObject:
        """PATCH with a JSON body, and the JSON of the answer."""
        return await self._json(self._create_request(Method.PATCH, path, params, json, headers))

    async def delete_json(self, path: str, params: Params = None, json: Any = None, headers: Headers = None) -> Any:
        """DELETE, and the JSON of the answer; None where the answer is empty."""
        request = self._create_request(Method.DELETE, path, params, json, headers)
        reply = await self._send(request)
        return read_json(reply.body, request) if reply.body.strip() else None

    async def post_json_empty(
        self, path: str, params: Params = None, json: Any = None, headers: Headers = None
    ) -> None:
        """POST with a JSON body; the answer, which may be empty, is ignored."""
        await self._send(self._create_request(Method.POST, path, params, json, headers))

    # --- forms ---

    async def get_form(
        self, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> JsonObject:
        """GET with the fields of `data` in the query (text: as the body), and the JSON of the answer."""
        if isinstance(data, Mapping):
            params, data = {**(params or {}), **data}, None
        return await self._json(self._create_form_request(Method.GET, path, params, data, headers))

    async def post_form(
        self, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> JsonObject:
        """POST with a form (a mapping, or text sent as it is), and the JSON of the answer."""
        return await self._json(self._create_form_request(Method.POST, path, params, data, headers))

    async def put_form(
        self, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> JsonObject:
        """PUT with a form, and the JSON of the answer."""
        return await self._json(self._create_form_request(Method.PUT, path, params, data, headers))

    async def patch_form(
        self, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> JsonObject:
        """PATCH with a form, and the JSON of the answer."""
        return await self._json(self._create_form_request(Method.PATCH, path, params, data, headers))

    async def post_form_empty(
        self, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> None:
        """POST with a form; the answer, which may be empty, is ignored."""
        await self._send(self._create_form_request(Method.POST, path, params, data, headers))

    # --- text ---

    async def get_text(self, path: str, params: Params = None, json: Any = None, headers: Headers = None) -> str:
        """GET, and the text of the answer in the encoding that it names, else UTF-8."""
        return (await self._send(self._create_request(Method.GET, path, params, json, headers))).text()

    # --- pages ---

    @overload
    def paginated(
        self, path: str, params: Params = None, limit: int | None = None, **how: Unpack[Paging]
    ) -> AsyncLazy[JsonObject]: ...
    @overload
    def paginated(
        self, path: str, params: Params = None, limit: int | None = None, *, returns: type[T], **how: Unpack[Paging]
    ) -> AsyncLazy[T]: ...
    @overload
    def paginated(
        self,
        path: str,
        params: Params = None,
        limit: int | None = None,
        *,
        returns: "TypeForm[T]",
        **how: Unpack[Paging],
    ) -> AsyncLazy[T]: ...
    def paginated(
        self,
        path: str,
        params: Params = None,
        limit: int | None = None,
        *,
        returns: Any = None,
        pages: Pages = TokenPages(),  # noqa: B008 - a value that cannot change
        items: str | None = None,
        headers: Headers = None,
        prefetch: bool = False,
    ) -> AsyncLazy[Any]:
        """GET, the items of every page, `limit` of them at most; a page is asked for when it is needed.

        `pages`: how the API names the next page (`SlyAPI.paging`), by tokens of Google's or X's kind
        unless told. `items`: where they are in the answer, as for `paging.value_at`; else under
        `items` or `data`, or the answer is the list. `prefetch`: asks for the next page while the
        caller works on this one. `returns`: what each item is, as for `get`. Iterating
        raises `BadReplyError` for pages that would never end, and for `items` that no page has.
        """
        fetch = partial(self._page, path, pages, ItemsAt(items), headers)
        found = walk(fetch, pages, {**pages.first(), **(params or {})}, limit, prefetch)
        if returns is not None:
            found = read_pages(found, returns, Request(Method.GET, self.get_full_url(path)).name)
        return PagedLazy(found)

    async def _page(
        self, path: str, pages: Pages, items_in: ItemsAt, headers: Headers, ask: Ask
    ) -> Page:
        """The page that `ask` asks for: parameters of `path`, or the request for a URL that a page named."""
        told: Mapping[str, str] = {}
        sent: ParamsDict = {} if isinstance(ask, Request) else ask
        if isinstance(ask, Request) or pages.reads_headers or getattr(self.get_json, "__func__", None) is _GET_JSON:
            if not isinstance(ask, Request):
                request = self._create_request(GET, path, ask, None, headers)
            else:
                origin = origin_of(self.base_url)
                if not origin.admits(ask.url):
                    raise origin.refusal(ask.url)
                request = Request(GET, ask.url, headers=dict(headers or {}))
            reply = await self._send(request)
            if reply.status == 204:
                raise _no_content(request, reply)
            body, told, url = read_json(reply.body, request), reply.headers, reply.url
        else:  # a client's own, perhaps with fewer parameters
            body = await (self.get_json(path, ask, headers=headers) if headers else self.get_json(path, ask))
            url = self.get_full_url(path)
        try:
            return Page(body, items_in(body), sent, told, url)
        except BadReplyError as error:
            problem = error.with_traceback(None)  # its frames have the body
        del body, told, url  # so that no traceback shows what a server echoed
        raise problem

    # --- bodies that take their time ---

    @asynccontextmanager
    async def stream(
        self, path: str, params: Params = None, *, method: Method | str = Method.GET, **asked: Unpack[Asked]
    ) -> AsyncGenerator[Streamed, None]:
        """The answer as it comes: `async with api.stream(...) as reply`, then over `reply` or `reply.lines()`.

        `asked` as for `post`. The body has no limit of size or of time in all; 60 s without a byte are a
        `RequestTimeoutError`, and so is a head that takes as long as any call may.
        """
        reply = await self._ask(Method(method.upper()), path, params, asked, begin)
        assert isinstance(reply, Streamed)  # what `begin` gives for a status below 400
        try:
            yield reply
        finally:
            reply.close()

    async def download(
        self,
        path: str,
        target: "str | os.PathLike[str]",
        params: Params = None,
        *,
        headers: Headers = None,
        tries: int = 1,
        limit: int | None = None,
        progress: Progress | None = None,
        total: Total | None = None,
    ) -> Path:
        """GET, and the answer in the file `target`, which is there when it is complete, and else as it was.

        What was received before a failure stays in `target.part`, if the server names the body so that
        it can be told from others; the next call goes on from there. `tries`: how often to ask in all, while
        that helps. `limit` in bytes. `progress(n)` is told of `n` bytes more, `total(n)` of the size (None:
        unknown) when the body begins. Raises `SaveError` where the file cannot be written.
        """
        from .download import download  # most programs have no use for it

        asked = self._create_request(Method.GET, path, params, None, headers)
        key = sha256(repr((asked.url, sorted(asked.query_params.items()))).encode()).hexdigest()

        def open_reply(more: Mapping[str, str]) -> "AbstractAsyncContextManager[Streamed]":
            return self.stream(path, params, headers={**(headers or {}), **more})

        return await download(open_reply, target, key, tries=tries, limit=limit, progress=progress, total=total)

    # --- what the methods are made of ---

    def get_full_url(self, path: str) -> str:
        """The URL of a path; override it for an API that wants a suffix. Every request goes through it."""
        return self.base_url + path

    def _create_request(self, method: Method, path: str, params: Params, json: Any, headers: Headers) -> Request:
        return Request(
            method,
            self.get_full_url(path),
            as_query(params, self._parameter_list_delimiter) if params else {},
            dict(headers) if headers else {},
            {} if json is None else _plain(json),
            json is not None,
        )

    def _create_form_request(self, method: Method, path: str, params: Params, data: Any, headers: Headers) -> Request:
        request = self._create_request(method, path, params, None, headers)
        if isinstance(data, str | bytes):
            request.data = data
            if not any(name.lower() == "content-type" for name in request.headers):
                request.headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif data is not None:
            request.data = form_of(_plain(data))
            if isinstance(request.data, Body):
                request.headers = request.data.headers(headers)
        return request

    async def _send(self, request: Request, using: Fetch | None = None) -> Reply:
        """The signed round trip."""
        using = using or (fetch_patiently if isinstance(request.data, Body) else fetch)
        origin = origin_of(self.base_url)
        if self.retry is None and self.limits is None:
            return await signed_call(self.auth, self._client, request, origin, self.reply_limit, using)
        from .retried_call import patient_call

        def call(auth: Auth, request: Request) -> Awaitable[Reply]:
            return signed_call(auth, self._client, request, origin, self.reply_limit, using)

        return await patient_call(self.auth, request, call, self.retry, self.limits)

    async def _json(self, request: Request) -> JsonObject:
        reply = await self._send(request)
        if reply.status == 204:
            raise _no_content(request, reply)
        return read_json(reply.body, request)  # type: ignore[no-any-return]


_GET_JSON = WebAPI.get_json


def _no_content(request: Request, reply: Reply) -> ApiError:
    """Programs written for 0.6 tell an API that has nothing to say by this status."""
    said = f"{request.name} was answered with HTTP 204, no content, where JSON is promised."
    return ApiError(204, "", reply, message=said)


def is_dataclass_instance(value: object) -> bool:
    """Whether `value` is an instance of a dataclass."""
    return is_dataclass(value) and not isinstance(value, type)


def _plain(data: Any) -> Any:
    """A body as JSON values: an object's `to_json()`, a dataclass's fields, else as it is."""
    to_json = getattr(data, "to_json", None)
    if callable(to_json):
        return to_json()
    return asdict(data) if is_dataclass(data) and not isinstance(data, type) else data

