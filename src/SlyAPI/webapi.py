"""WebAPI: the class an API client derives from. Knows `Auth`, not OAuth.

The rule: a method builds a request, hands it to `signed_call`, and reads the answer as its name says.
"""

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from .auth import Auth
from .errors import BadReplyError, SlyError
from .lazy import AsyncLazy, PagedLazy
from .page_walk import walk
from .paging import Page, Pages, TokenPages, items_of
from .params import as_form, as_query
from .signed_call import Origin, signed_call
from .transport import REPLY_LIMIT, Sessions
from .web import JsonMap, Method, ParamsDict, Reply, Request, read_json

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["JsonMap", "WebAPI", "is_dataclass_instance"]

T = TypeVar("T")
JsonObject = dict[str, Any]
Headers = Mapping[str, str] | None
Params = ParamsDict | None


class WebAPI:
    """One web API, as one user. Set `base_url` and write methods that call `get_json` and its siblings.

    `auth` signs every request. `use_form_data`: bodies of `_post` and its siblings are forms, not
    JSON. `session`: an `aiohttp.ClientSession` of yours, which stays yours to close; without one, each
    event loop gets its own on first use, closed when the loop ends or by `close()` and `async with`.
    `reply_limit`: bytes of a reply that are read, decompressed.
    Every method raises `ApiError` for a status of 400 or more, else another `SlyError`.
    """

    base_url: str = ""
    reply_limit = REPLY_LIMIT
    _parameter_list_delimiter = ","

    def __init__(
        self, auth: Auth, use_form_data: bool = False, *, session: "ClientSession | None" = None
    ) -> None:
        self.auth = auth
        self.use_form_data = use_form_data
        self._session = session
        self._sessions = Sessions()
        self._origin = Origin("")

    # --- the session ---

    @property
    def _client(self) -> "ClientSession":
        return self._sessions.get() if self._session is None else self._session

    async def close(self) -> None:
        """Closes this event loop's session, unless it is the caller's own. A later call makes a new one."""
        await self.auth.settle()
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
        return await self._json(self._create_request(Method.GET, path, params, json, headers))

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

    def paginated(
        self,
        path: str,
        params: Params = None,
        limit: int | None = None,
        *,
        pages: Pages = TokenPages(),  # noqa: B008 - a value that cannot change
        items: str | None = None,
        headers: Headers = None,
        prefetch: bool = False,
    ) -> AsyncLazy[JsonObject]:
        """GET, the items of every page, `limit` of them at most; a page is asked for when it is needed.

        `pages`: how the API names the next page (`SlyAPI.paging`), by tokens of Google's or X's kind
        unless told. `items`: where they are in the answer, as for `paging.value_at`; else under
        `items` or `data`, or the answer is the list. `prefetch`: asks for the next page while the
        caller works on this one. Iterating raises `BadReplyError` for pages that would never end.
        """
        fetch = partial(self._page, path, pages, items, headers)
        return PagedLazy(walk(fetch, pages, {**pages.first(), **(params or {})}, limit, prefetch))

    async def _page(
        self, path: str, pages: Pages, items: str | None, headers: Headers, ask: ParamsDict | str
    ) -> Page:
        """The page that `ask` asks for: parameters of `path`, or a URL that a page named."""
        if not isinstance(ask, str) and not pages.reads_headers:
            # a client may have overridden get_json, with fewer parameters
            body: Any = await (self.get_json(path, ask, headers=headers) if headers else self.get_json(path, ask))
            return Page(body, items_of(body, items), ask, {}, self.get_full_url(path))
        if isinstance(ask, str):
            origin = Origin(self.base_url)
            if not origin.admits(ask):
                raise origin.refusal(ask)
            request = Request(Method.GET, ask, headers=dict(headers or {}))
        else:
            request = self._create_request(Method.GET, path, ask, None, headers)
        reply = await self._send(request)
        body = read_json(reply.body, request)
        return Page(body, items_of(body, items), {} if isinstance(ask, str) else ask, reply.headers, reply.url)

    # --- any result ---

    @overload
    async def _get(
        self, returns: type[T], path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> T: ...
    @overload
    async def _get(
        self, returns: None, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> None: ...
    async def _get(
        self, returns: Any, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> Any:
        """GET, and the answer as `returns`: a class with `from_json`, `str`, None, or any one-argument constructor."""
        return await self._request(Method.GET, returns, path, params, data, headers)

    @overload
    async def _post(
        self, returns: type[T], path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> T: ...
    @overload
    async def _post(
        self, returns: None, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> None: ...
    async def _post(
        self, returns: Any, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> Any:
        """POST with `data` as JSON, or as a form when `use_form_data`; the answer as for `_get`."""
        return await self._request(Method.POST, returns, path, params, data, headers)

    @overload
    async def _put(
        self, returns: type[T], path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> T: ...
    @overload
    async def _put(
        self, returns: None, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> None: ...
    async def _put(
        self, returns: Any, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> Any:
        """PUT, as `_post`."""
        return await self._request(Method.PUT, returns, path, params, data, headers)

    @overload
    async def _patch(
        self, returns: type[T], path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> T: ...
    @overload
    async def _patch(
        self, returns: None, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> None: ...
    async def _patch(
        self, returns: Any, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> Any:
        """PATCH, as `_post`."""
        return await self._request(Method.PATCH, returns, path, params, data, headers)

    @overload
    async def _delete(
        self, returns: type[T], path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> T: ...
    @overload
    async def _delete(
        self, returns: None, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> None: ...
    async def _delete(
        self, returns: Any, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> Any:
        """DELETE, as `_post`."""
        return await self._request(Method.DELETE, returns, path, params, data, headers)

    async def _request(
        self, method: Method, returns: Any, path: str, params: Params, data: Any, headers: Headers
    ) -> Any:
        create = self._create_form_request if self.use_form_data else self._create_request
        request = create(method, path, params, data, headers)
        reply = await self._send(request)
        if returns is None:
            return None
        if returns is str:
            return reply.text()
        if returns is bytes:
            return reply.body
        return _construct(returns, read_json(reply.body, request), request)

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
            request.data = as_form(_plain(data), self._parameter_list_delimiter)
        return request

    async def _send(self, request: Request) -> Reply:
        """The signed round trip."""
        if self.base_url is not self._origin.base_url:
            self._origin = Origin(self.base_url)
        return await signed_call(self.auth, self._client, request, self._origin, self.reply_limit)

    async def _json(self, request: Request) -> JsonObject:
        value: JsonObject = read_json((await self._send(request)).body, request)
        return value


def is_dataclass_instance(value: object) -> bool:
    """Whether `value` is an instance of a dataclass."""
    return is_dataclass(value) and not isinstance(value, type)


def _plain(data: Any) -> Any:
    """A body as JSON values: an object's `to_json()`, a dataclass's fields, else as it is."""
    to_json = getattr(data, "to_json", None)
    if callable(to_json):
        return to_json()
    return asdict(data) if is_dataclass(data) and not isinstance(data, type) else data


def _construct(returns: Any, value: Any, request: Request) -> Any:
    build = getattr(returns, "from_json", returns)
    problem = ""
    try:
        return build(value)
    except SlyError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        problem = type(error).__name__
    del value  # so that no traceback shows what a server echoed
    raise BadReplyError(
        f"{request.name} answered with JSON that is no {getattr(returns, '__name__', 'such value')} ({problem}).",
        kind="configuration",
    )

