"""WebAPI: the class an API client derives from. Knows `Auth`, not OAuth.

The rule: a method builds a request, sends it by `signed_call`, and reads the reply as its name says.
"""

import os
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypedDict, TypeVar, Unpack, overload

from ..auth.contract import Auth
from ..errors import ApiError, clean_traceback
from ..paging import ItemsAt, Page, Pages, TokenPages
from ..transport.bodies import Body, Progress, Total, form_of
from ..transport.requests import REPLY_LIMIT, fetch
from ..transport.sessions import FOR_STREAMS, SHARED, Sessions, load_aiohttp
from ..transport.streaming import Streamed, begin, fetch_patiently
from ..web.json import JsonMap, read_reply
from ..web.messages import Method, Reply, Request
from ..web.params import as_headers, as_query
from .answers import read_answer
from .lazy import AsyncLazy, PagedLazy
from .origin import origin_of
from .page_walk import PageRequest, walk
from .sent_json import as_json
from .signed_call import Fetch, signed_call
from .verbs import Headers, Params, RequestOptions, Verbs

if TYPE_CHECKING:
    from aiohttp import ClientSession, TraceConfig
    from typing_extensions import TypeForm

    from ..limits import Limits
    from ..retry import Retry
    from .download import Downloaded

__all__ = ["JsonMap", "WebAPI"]

T = TypeVar("T")
JsonDict = dict[str, Any]
GET = Method.GET  # Python 3.11 looks up an enum's member by three calls


class Paging(TypedDict, total=False):
    """Keyword arguments of `paginated`."""

    pages: Pages
    items: str | None
    headers: Headers
    prefetch: bool


class WebAPI(Verbs):
    """One web API, as one user. Set `base_url` and write methods that call `get_json` and its siblings.

    `auth` signs every request. `use_form_data`: bodies of `_post` and its siblings are forms, not
    JSON. `session`: an `aiohttp.ClientSession` that the caller closes; without one, all clients in an event
    loop share one that keeps no cookies, closed when the loop ends or when each of them was closed (`close()`,
    `async with`). `trace_configs`: trace the requests of sessions of this client's own, never token requests
    (docs/observing.md). `reply_limit`: the largest body of a reply in bytes, decompressed.
    `retry` (`SlyAPI.retry.Retry`): which calls are repeated;
    `limits` (`SlyAPI.limits.Limits`): how many may be under way, and how fast they start. Both are off
    unless given here or as class attributes; all objects of a class share its `limits`.
    Every method raises `ApiError` for a status of 400 or more, else another `SlyError`.
    """

    __module__ = "SlyAPI.webapi"

    base_url: str = ""
    reply_limit = REPLY_LIMIT
    retry: "Retry | None" = None
    limits: "Limits | None" = None
    _parameter_list_delimiter = ","
    # created when needed: a program may hold many clients
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
            load_aiohttp()  # during the program's start, not at its first await
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
        return (self._sessions or SHARED).join(self)

    @property
    def _stream_client(self) -> "ClientSession":
        """For what may take long, so that no other call waits for a connection."""
        if self._session is not None:
            return self._session
        return (self._sessions or FOR_STREAMS).join(self)

    async def close(self) -> None:
        """Closes this event loop's session, unless other clients use it or the caller gave it. A call opens it anew."""
        await self.auth.wait_for_refresh()
        for sessions in (self._sessions,) if self._sessions else (SHARED, FOR_STREAMS):
            await sessions.leave(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- JSON in, JSON out ---

    @clean_traceback
    async def get_json(self, path: str, params: Params = None, json: Any = None, headers: Headers = None) -> JsonDict:
        """GET, and the JSON of the reply whatever its Content-Type is."""
        request = self._create_request(GET, path, params, json, headers)
        return _json_of(request, await self._send(request))  # type: ignore[no-any-return]

    @clean_traceback
    async def post_json(self, path: str, params: Params = None, json: Any = None, headers: Headers = None) -> JsonDict:
        """POST with a JSON body, and the JSON of the reply."""
        return await self._json(self._create_request(Method.POST, path, params, json, headers))

    @clean_traceback
    async def put_json(self, path: str, params: Params = None, json: Any = None, headers: Headers = None) -> JsonDict:
        """PUT with a JSON body, and the JSON of the reply."""
        return await self._json(self._create_request(Method.PUT, path, params, json, headers))

    @clean_traceback
    async def patch_json(self, path: str, params: Params = None, json: Any = None, headers: Headers = None) -> JsonDict:
        """PATCH with a JSON body, and the JSON of the reply."""
        return await self._json(self._create_request(Method.PATCH, path, params, json, headers))

    @clean_traceback
    async def delete_json(self, path: str, params: Params = None, json: Any = None, headers: Headers = None) -> Any:
        """DELETE, and the JSON of the reply; None if the reply is empty."""
        request = self._create_request(Method.DELETE, path, params, json, headers)
        reply = await self._send(request)
        return read_reply(reply, request) if reply.body.strip() else None

    @clean_traceback
    async def post_json_empty(
        self, path: str, params: Params = None, json: Any = None, headers: Headers = None
    ) -> None:
        """POST with a JSON body; the reply, which may be empty, is ignored."""
        await self._send(self._create_request(Method.POST, path, params, json, headers))

    # --- forms ---

    @clean_traceback
    async def get_form(self, path: str, params: Params = None, data: Any = None, headers: Headers = None) -> JsonDict:
        """GET with the fields of `data` in the query (text: as the body), and the JSON of the reply."""
        if isinstance(data, Mapping):
            params, data = {**(params or {}), **data}, None
        return await self._json(self._create_form_request(GET, path, params, data, headers))

    @clean_traceback
    async def post_form(self, path: str, params: Params = None, data: Any = None, headers: Headers = None) -> JsonDict:
        """POST with a form (a mapping, or text sent as it is), and the JSON of the reply."""
        return await self._json(self._create_form_request(Method.POST, path, params, data, headers))

    @clean_traceback
    async def put_form(self, path: str, params: Params = None, data: Any = None, headers: Headers = None) -> JsonDict:
        """PUT with a form, and the JSON of the reply."""
        return await self._json(self._create_form_request(Method.PUT, path, params, data, headers))

    @clean_traceback
    async def patch_form(self, path: str, params: Params = None, data: Any = None, headers: Headers = None) -> JsonDict:
        """PATCH with a form, and the JSON of the reply."""
        return await self._json(self._create_form_request(Method.PATCH, path, params, data, headers))

    @clean_traceback
    async def post_form_empty(
        self, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> None:
        """POST with a form; the reply, which may be empty, is ignored."""
        await self._send(self._create_form_request(Method.POST, path, params, data, headers))

    # --- text ---

    @clean_traceback
    async def get_text(self, path: str, params: Params = None, json: Any = None, headers: Headers = None) -> str:
        """GET, and the text of the reply in the encoding that it names, else UTF-8."""
        return (await self._send(self._create_request(GET, path, params, json, headers))).text()

    # --- pages ---

    @overload
    def paginated(
        self, path: str, params: Params = None, limit: int | None = None, **how: Unpack[Paging]
    ) -> AsyncLazy[JsonDict]: ...
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
        pages: Pages = TokenPages(),  # noqa: B008 - immutable
        items: str | None = None,
        headers: Headers = None,
        prefetch: bool = False,
    ) -> AsyncLazy[Any]:
        """GET, the items of every page, at most `limit` of them; a page is requested when it is needed.

        `pages`: how the API names the next page (`SlyAPI.paging`), by default by tokens as Google or X do.
        `items`: the path of the items in the reply, as for `paging.value_at`; by default `items`, `data`, or
        the reply itself if it is a list. `prefetch`: requests the next page while the caller works on this
        one. `returns`: the type of each item, as for `get`. Iterating raises `BadReplyError` for pages that
        would never end, and for a path that no page has.
        """
        overridden = getattr(self.get_json, "__func__", None) is not _GET_JSON
        page_of = self._own_page if overridden and not pages.reads_headers else self._page
        fetch = partial(page_of, path, ItemsAt(items), headers)
        name = Request(GET, self.get_full_url(path), secrets_to_mask=self.auth.secrets_to_mask).name
        read = None if returns is None else partial(read_answer, list[returns], request_name=name, place="items")
        return PagedLazy(walk(fetch, pages, {**pages.first(), **(params or {})}, limit, prefetch=prefetch, read=read))

    async def _page(self, path: str, items_in: ItemsAt, headers: Headers, asked: PageRequest) -> Page:
        request = self._page_request(path, headers, asked)
        reply = await self._send(request)
        body = _json_of(request, reply)
        return Page(body, items_in(body), {} if isinstance(asked, str) else asked, reply.headers, reply.url)

    async def _own_page(self, path: str, items_in: ItemsAt, headers: Headers, asked: PageRequest) -> Page:
        """A page by the subclass's `get_json`, which may take fewer arguments."""
        if isinstance(asked, str):
            return await self._page(path, items_in, headers, asked)
        body = await (self.get_json(path, asked, headers=headers) if headers else self.get_json(path, asked))
        return Page(body, items_in(body), asked, {}, self.get_full_url(path))

    def _page_request(self, path: str, headers: Headers, asked: PageRequest) -> Request:
        """The request for a page. Raises `OriginError` for a URL of another origin."""
        if not isinstance(asked, str):
            return self._create_request(GET, path, asked, None, headers)
        origin = origin_of(self.base_url)
        if not origin.admits(asked):
            raise origin.refusal(asked)
        return Request(GET, asked, headers=as_headers(headers or {}))

    # --- streams and downloads ---

    @asynccontextmanager
    @clean_traceback
    async def stream(
        self, path: str, params: Params = None, *, method: Method | str = GET, **options: Unpack[RequestOptions]
    ) -> AsyncGenerator[Streamed, None]:
        """The reply as it arrives: `async with api.stream(...) as reply`, then iterate `reply` or `reply.lines()`.

        `options` as for `post`. The body has no limit of size or of total time; 60 s without a byte are a
        `RequestTimeoutError`, and so are headers that take longer than any call may.
        """
        reply = await self._request(Method(method.upper()), path, params, options, begin)
        assert isinstance(reply, Streamed)  # `begin` returns one for a status below 400
        try:
            yield reply
        finally:
            reply.close()

    @clean_traceback
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
    ) -> "Downloaded":
        """GET, and the body of the reply in the file `target`, which changes only once the body is complete.

        The result is the path, with `status` and `headers` of the reply. `tries`: requests in all, while failures are
        transient; a further one continues the body where the server identifies it (by ETag or date). `limit` in
        bytes. `progress(n)` gets each number of received bytes, `total(n)` the size (None: unknown) when the
        body begins. Raises `SaveError` if the file cannot be written.
        """
        from .download import download  # most programs do not use it

        def open_reply(more: Mapping[str, str]) -> "AbstractAsyncContextManager[Streamed]":
            return self.stream(path, params, headers={**(headers or {}), **more})

        return await download(open_reply, target, tries=tries, limit=limit, progress=progress, total=total)

    # --- building, sending, reading ---

    def get_full_url(self, path: str) -> str:
        """The URL of a path; override it for an API that needs a suffix. Every request uses it."""
        return self.base_url + path

    def _create_request(self, method: Method, path: str, params: Params, json: Any, headers: Headers) -> Request:
        return Request(
            method,
            self.get_full_url(path),
            as_query(params, self._parameter_list_delimiter) if params else {},
            as_headers(headers) if headers else {},
            {} if json is None else as_json(json),
            json is not None,
        )

    def _create_form_request(self, method: Method, path: str, params: Params, data: Any, headers: Headers) -> Request:
        request = self._create_request(method, path, params, None, headers)
        if isinstance(data, str | bytes):
            request.data = data
            if not any(name.lower() == "content-type" for name in request.headers):
                request.headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif data is not None:
            request.data = form_of(data if isinstance(data, Mapping | list | tuple) else as_json(data))
            if isinstance(request.data, Body):
                request.headers = request.data.headers(request.headers)
        return request

    def _send(self, request: Request, using: Fetch | None = None) -> Awaitable[Reply]:
        """The signed round trip."""
        using = using or (fetch_patiently if isinstance(request.data, Body) else fetch)
        origin = origin_of(self.base_url)
        if self.retry is None and self.limits is None:
            client = self._client if using is fetch else self._stream_client
            return signed_call(self.auth, client, request, origin, self.reply_limit, using)
        from .retried_call import retried_call

        def call(request: Request, attempt: Fetch) -> Awaitable[Reply]:
            client = self._client if using is fetch else self._stream_client
            return signed_call(self.auth, client, request, origin, self.reply_limit, attempt)

        return retried_call(call, request, using, self.retry, self.limits)

    async def _json(self, request: Request) -> JsonDict:
        return _json_of(request, await self._send(request))  # type: ignore[no-any-return]


_GET_JSON = WebAPI.get_json


def _json_of(request: Request, reply: Reply) -> Any:
    """The JSON of a reply. Raises `ApiError` for a 204, which programs written for 0.6 rely on."""
    if reply.status == 204:
        message = f"{request.name} was answered with HTTP 204 (no content) instead of JSON."
        raise ApiError(204, "", reply, message=message)
    return read_reply(reply, request)
