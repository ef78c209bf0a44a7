"""WebAPI: the class an API client derives from. Knows `Auth`, not OAuth.

The rule: a method builds a request, sends it by `signed_call`, and reads the reply as its name says.
"""

import os
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypedDict, TypeVar, Unpack, overload

from ..auth.contract import Auth
from ..errors import ConfigError, clean_traceback
from ..paging import Page, Pages, TokenPages
from ..transport.bodies import Body, Progress, Total, form_of
from ..transport.requests import REPLY_LIMIT, fetch
from ..transport.sessions import FOR_STREAMS, SHARED, Sessions, load_aiohttp
from ..transport.streaming import Streamed, begin, fetch_patiently
from ..web.json import JsonMap, check_density, read_reply
from ..web.messages import Method, Reply, Request
from ..web.params import as_headers, as_mapping, as_query
from .answers import AnswerType, answer_type
from .deadline import checked_seconds, within
from .lazy import AsyncLazy, PagedLazy
from .older_verbs import Headers, OlderVerbs, Params
from .origin import check_whole, full_url, origin_of
from .page_items import ItemsAt
from .page_walk import PageRequest, walk
from .sent_json import as_json, json_body
from .signed_call import Fetch, signed_call
from .verbs import SentOptions, Verbs

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
    timeout: float | None


_BY_TOKENS = TokenPages()


class _Walk(NamedTuple):
    """What all requests of one `paginated` share."""

    path: str
    items: ItemsAt
    headers: Headers
    timeout: float | None
    expected: AnswerType | None


class WebAPI(Verbs):
    """One web API, as one user: `WebAPI(OAuth2("app.json", "user.json"), "https://api.example/v1")`.

    Derive from it and write methods that call `get`, `post` and their siblings, or use it as it is.

    `auth` (`Auth`): signs every request. `Auth.none()` signs nothing.
    `base_url` (text): the API's address, joined with each path by one slash; also an attribute of class or object.
    `timeout` (seconds): for each call in all, with its repetitions and a refresh; each method takes its own.
    `use_form_data` (bool): bodies of `_post` and its siblings are forms, not JSON; also by position, as in SlyAPI 0.6.
    `session` (`aiohttp.ClientSession`): the caller closes it. Without one, all clients of an event loop share one
    that keeps no cookies, closed when the loop ends or each client was closed (`close()`, `async with`).
    `trace_configs`: trace the requests of this client, never token requests (docs/observing.md).
    `retry` (`Retry`): which calls are repeated. `limits` (`Limits`): how many are under way, and how fast they
    start; all objects of a class may share one. Both are off unless given here or as class attributes.

    `reply_limit` (bytes, attribute): the largest body of a reply, decompressed; streams and downloads have none.

    Raises `ConfigError` for another `auth`. Every method raises `ApiError` for a status of 400 or more, else
    another `SlyError`.

    >>> async with WebAPI(UrlApiKey("key", "..."), "https://api.example/v1") as api:  # doctest: +SKIP
    ...     songs = await api.get("/songs", params={"year": 1959}, returns=list[Song])
    """

    __module__ = "SlyAPI.webapi"

    base_url: str = ""
    reply_limit: int = REPLY_LIMIT
    retry: "Retry | None" = None
    limits: "Limits | None" = None
    _parameter_list_delimiter: str | None = ","
    _timeout: float | None = None
    # created when needed: a program may hold many clients
    _session: "ClientSession | None" = None
    _sessions: Sessions | None = None

    def __init__(
        self,
        auth: Auth,
        base_url: str | bool | None = None,
        *,
        timeout: float | None = None,
        use_form_data: bool = False,
        session: "ClientSession | None" = None,
        trace_configs: "Sequence[TraceConfig]" = (),
        retry: "Retry | None" = None,
        limits: "Limits | None" = None,
    ) -> None:
        if isinstance(base_url, bool):  # the second argument of 0.6
            use_form_data, base_url = base_url, None
        if not isinstance(auth, Auth):
            from .guesses import not_an_auth

            raise not_an_auth(auth)
        self.auth = auth
        self.use_form_data = use_form_data
        if base_url is not None:
            self.base_url = str(base_url)  # a `yarl.URL` or a setting of pydantic's too
        elif auth._base_url and not self.base_url:
            self.base_url = auth._base_url
        if timeout is not None:
            self._timeout = checked_seconds(timeout)
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
        pages: Pages = _BY_TOKENS,
        items: str | None = None,
        headers: Headers = None,
        prefetch: bool = False,
        timeout: float | None = None,
    ) -> AsyncLazy[Any]:
        """GET, the items of every page, at most `limit` of them; a page is requested when it is needed.

        `pages` (`SlyAPI.paging`): how the API names the next page, by default by tokens as Google or X do.
        `items`: the path of the items in the reply, as for `paging.value_at`; by default `items`, then `data`, then
        the only list of the page, or the reply itself if it is a list. `returns`: the type of each item, as for
        `get`. `prefetch`: requests the next page while the caller works on this one. `timeout`: seconds per page.

        Iterating raises `BadReplyError` for pages that would never end, a misspelt `items`, a page that names a
        next one in another way than `pages` reads, and a reply that reports an error with a status of 200.

        >>> async for song in api.paginated("/songs", items="results", returns=Song):  # doctest: +SKIP
        ...     print(song.title)
        """
        if not (isinstance(pages, Pages) and isinstance(limit, int | None)):
            raise ConfigError("pages is an object, limit a number.", next_step="Write: pages=LinkPages(), limit=100")
        expected = None if returns is None else answer_type(list[returns])
        walks = _Walk(path, ItemsAt(items, strict=pages is not _BY_TOKENS), headers, timeout, expected)
        name = Request(GET, self.get_full_url(path), secrets_to_mask=self.auth.secrets_to_mask).name
        overridden = getattr(self.get_json, "__func__", None) is not OlderVerbs.get_json
        fetch = partial(self._own_page if overridden and not pages.reads_headers else self._page, walks)
        read = None if expected is None else partial(expected.read, request_name=name, place="items")
        first = {**pages.first(), **as_mapping(params or {})}
        return PagedLazy(walk(fetch, pages, first, limit, prefetch=prefetch, read=read))

    async def _page(self, walks: "_Walk", asked: PageRequest) -> Page:
        request = self._page_request(walks, asked)
        reply = await self._send(request, timeout=walks.timeout)
        body = self._object(request, reply, digits=walks.expected is not None and walks.expected.digits)
        sent = {} if isinstance(asked, str) else asked
        return Page(body, walks.items(body), sent, reply.headers, reply.url)

    async def _own_page(self, walks: "_Walk", asked: PageRequest) -> Page:
        """A page by the subclass's `get_json`, which may take fewer arguments."""
        if isinstance(asked, str):
            return await self._page(walks, asked)
        given: dict[str, Any] = {"headers": walks.headers, "timeout": walks.timeout}
        body = await self.get_json(walks.path, asked, **{name: value for name, value in given.items() if value})
        return Page(body, walks.items(body), asked, {}, self.get_full_url(walks.path))

    def _page_request(self, walks: "_Walk", asked: PageRequest) -> Request:
        """The request for a page. Raises `OriginError` for a URL of another origin."""
        if not isinstance(asked, str):
            return self._create_request(GET, walks.path, asked, None, walks.headers)
        origin = origin_of(self.base_url)
        if not origin.admits(asked):
            raise origin.refusal(asked)
        return Request(GET, asked, headers=as_headers(walks.headers or {}))

    # --- streams and downloads ---

    @asynccontextmanager
    @clean_traceback
    async def stream(
        self, path: str, params: Params = None, *, method: Method | str = GET, **options: Unpack[SentOptions]
    ) -> AsyncGenerator[Streamed, None]:
        """The reply as it arrives: `async with api.stream(...) as reply`, then iterate `reply` or `reply.lines()`.

        `options` as for `post`. The body has no limit of size or of total time; 60 s without a byte are a
        `RequestTimeoutError`, and so are headers that take longer than any call may, or than `timeout`.
        """
        timeout = options.pop("timeout", None)
        request = self._with_body(Method(method), path, params, **options)  # type: ignore[misc]
        reply = await self._send(request, begin, timeout)
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
        timeout: float | None = None,
        progress: Progress | None = None,
        total: Total | None = None,
    ) -> "Downloaded":
        """GET, and the body of the reply in the file `target`, which changes only once the body is complete.

        The result is the path, with `status` and `headers` of the reply. `timeout`: seconds in all, none by default.
        `tries`: requests in all, while failures are transient; a further one continues the body where the server
        identifies it (by ETag or date). `limit` in bytes. `progress(n)` gets each number of received bytes, `total(n)`
        the size (None: unknown) when the body begins. Raises `SaveError` if the file cannot be written.
        """
        from .download import download  # most programs do not use it

        def open_reply(more: Mapping[str, str]) -> "AbstractAsyncContextManager[Streamed]":
            return self.stream(path, params, headers={**(headers or {}), **more})

        loading = download(open_reply, target, tries=tries, limit=limit, progress=progress, total=total)
        if timeout is None:
            return await loading
        return await within(checked_seconds(timeout), Request(GET, self.get_full_url(path)), loading)

    # --- building, sending, reading ---

    def get_full_url(self, path: str) -> str:
        """The URL of a path; override it for an API that needs a suffix. Every request uses it."""
        base = self.base_url
        if isinstance(path, str) and path[:1] == "/" and path[1:2] != "/" and base and base[-1] != "/":  # as most are
            return base + path
        return full_url(base, path)

    def _create_request(self, method: Method, path: str, params: Params, json: Any, headers: Headers) -> Request:
        url = self.get_full_url(path)
        if "://" not in url or "#" in url:
            check_whole(method, url, self.base_url)
        query = as_query(params, self._parameter_list_delimiter) if params else {}
        sent = as_headers(headers) if headers else {}
        if json is None:
            return Request(method, url, query, sent)
        data, is_text = json_body(json)
        if is_text:
            sent.setdefault("Content-Type", "application/json")
        return Request(method, url, query, sent, data, not is_text)

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

    def _send(self, request: Request, using: Fetch | None = None, timeout: float | None = None) -> Awaitable[Reply]:
        """The signed round trip, within `timeout` seconds or the client's own."""
        using = using or (fetch_patiently if isinstance(request.data, Body) else fetch)
        seconds = self._timeout if timeout is None else checked_seconds(timeout)
        if seconds is None:
            return self._sent(request, using, using is fetch)
        limited: Any = partial(using, total=seconds)  # type: ignore[call-arg]  # in place of the session's limit, which may be shorter
        return within(seconds, request, self._sent(request, limited, using is fetch))

    def _sent(self, request: Request, using: Fetch, short: bool) -> Awaitable[Reply]:
        origin = origin_of(self.base_url)
        if self.retry is None and self.limits is None:
            client = self._client if short else self._stream_client
            return signed_call(self.auth, client, request, origin, self.reply_limit, using)
        from .retried_call import retried_call

        def call(request: Request, attempt: Fetch) -> Awaitable[Reply]:
            client = self._client if short else self._stream_client
            return signed_call(self.auth, client, request, origin, self.reply_limit, attempt)

        return retried_call(call, request, using, self.retry, self.limits)

    def _read_json(self, request: Request, reply: Reply, *, digits: bool = False) -> Any:
        check_density(reply.body, request, self.reply_limit)
        return read_reply(reply, request, digits=digits)
