"""Calls with typed results: `get`, `post`, `put`, `patch` and `delete`, and their siblings of SlyAPI 0.6.

The rule: `returns` is the type of the result, for the reader, the type checker and the parser.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack, overload

from ..auth.contract import Auth
from ..errors import BadReplyError, ConfigError, SlyError, clean_traceback
from ..transport.bodies import Content, Files, Progress, Total, body_of, multipart
from ..web.json import read_reply
from ..web.messages import Method, ParamsDict, Reply, Request
from ..web.params import as_form
from .answers import admits_none, read_answer
from .signed_call import Fetch

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")
Params = ParamsDict | None
Headers = Mapping[str, str] | None


class RequestOptions(TypedDict, total=False):
    """What a call may send: one of `json` and `data`, or `files` with the fields of `data`."""

    json: Any
    data: Mapping[str, Any] | Content | None
    files: Files | None
    headers: Headers
    progress: Progress | None
    total: Total | None
    compress: bool


class Verbs:
    """The half of `WebAPI` whose methods take `returns`.

    `returns`: a dataclass, a TypedDict, a class with a classmethod `from_json`, `list[X]`, `dict[str, X]`,
    `X | None` and other types that JSON can become; `str`, the text; `bytes`, the body; None: the reply is
    ignored. Without it the JSON as it is, None if the reply is empty. JSON of another shape is a
    `BadReplyError` with its path.

    What is sent, by keyword: `json`; `data`, which is a form (a mapping), text or bytes, a path, an open
    binary file, or an asynchronous iterable of bytes; `files`, a multipart form with the fields of
    `data`; `headers`. `compress`: the body is sent in gzip, which few APIs accept; a form without files is
    not. `progress(n)` gets each number of sent bytes, `total(n)` the size (None: unknown)
    whenever the body begins.
    """

    auth: Auth
    use_form_data: bool
    _parameter_list_delimiter: str

    if TYPE_CHECKING:

        def _create_request(
            self, method: Method, path: str, params: Params, json: Any, headers: Headers
        ) -> Request: ...
        def _create_form_request(
            self, method: Method, path: str, params: Params, data: Any, headers: Headers
        ) -> Request: ...
        def _send(self, request: Request, using: Fetch | None = None) -> Awaitable[Reply]: ...

    @overload
    async def get(self, path: str, params: Params = None, *, returns: type[T], **sent: Unpack[RequestOptions]) -> T: ...
    @overload
    async def get(self, path: str, params: Params = None, *, returns: None, **sent: Unpack[RequestOptions]) -> None: ...
    @overload
    async def get(
        self, path: str, params: Params = None, *, returns: "TypeForm[T]", **sent: Unpack[RequestOptions]
    ) -> T: ...
    @overload
    async def get(
        self, path: str, params: Params = None, *, returns: object = ..., **sent: Unpack[RequestOptions]
    ) -> Any: ...
    @clean_traceback
    async def get(self, path: str, params: Params = None, *, returns: Any = Any, **sent: Unpack[RequestOptions]) -> Any:
        """GET, and the reply as `returns` says: `await api.get("/songs", returns=list[Song])`."""
        return await self._typed(Method.GET, path, params, returns, sent)

    @overload
    async def post(
        self, path: str, params: Params = None, *, returns: type[T], **sent: Unpack[RequestOptions]
    ) -> T: ...
    @overload
    async def post(
        self, path: str, params: Params = None, *, returns: None, **sent: Unpack[RequestOptions]
    ) -> None: ...
    @overload
    async def post(
        self, path: str, params: Params = None, *, returns: "TypeForm[T]", **sent: Unpack[RequestOptions]
    ) -> T: ...
    @overload
    async def post(
        self, path: str, params: Params = None, *, returns: object = ..., **sent: Unpack[RequestOptions]
    ) -> Any: ...
    @clean_traceback
    async def post(
        self, path: str, params: Params = None, *, returns: Any = Any, **sent: Unpack[RequestOptions]
    ) -> Any:
        """POST what `sent` contains (see `Verbs`), and the reply as for `get`."""
        return await self._typed(Method.POST, path, params, returns, sent)

    @overload
    async def put(self, path: str, params: Params = None, *, returns: type[T], **sent: Unpack[RequestOptions]) -> T: ...
    @overload
    async def put(self, path: str, params: Params = None, *, returns: None, **sent: Unpack[RequestOptions]) -> None: ...
    @overload
    async def put(
        self, path: str, params: Params = None, *, returns: "TypeForm[T]", **sent: Unpack[RequestOptions]
    ) -> T: ...
    @overload
    async def put(
        self, path: str, params: Params = None, *, returns: object = ..., **sent: Unpack[RequestOptions]
    ) -> Any: ...
    @clean_traceback
    async def put(self, path: str, params: Params = None, *, returns: Any = Any, **sent: Unpack[RequestOptions]) -> Any:
        """PUT, as `post`."""
        return await self._typed(Method.PUT, path, params, returns, sent)

    @overload
    async def patch(
        self, path: str, params: Params = None, *, returns: type[T], **sent: Unpack[RequestOptions]
    ) -> T: ...
    @overload
    async def patch(
        self, path: str, params: Params = None, *, returns: None, **sent: Unpack[RequestOptions]
    ) -> None: ...
    @overload
    async def patch(
        self, path: str, params: Params = None, *, returns: "TypeForm[T]", **sent: Unpack[RequestOptions]
    ) -> T: ...
    @overload
    async def patch(
        self, path: str, params: Params = None, *, returns: object = ..., **sent: Unpack[RequestOptions]
    ) -> Any: ...
    @clean_traceback
    async def patch(
        self, path: str, params: Params = None, *, returns: Any = Any, **sent: Unpack[RequestOptions]
    ) -> Any:
        """PATCH, as `post`."""
        return await self._typed(Method.PATCH, path, params, returns, sent)

    @overload
    async def delete(
        self, path: str, params: Params = None, *, returns: type[T], **sent: Unpack[RequestOptions]
    ) -> T: ...
    @overload
    async def delete(
        self, path: str, params: Params = None, *, returns: None, **sent: Unpack[RequestOptions]
    ) -> None: ...
    @overload
    async def delete(
        self, path: str, params: Params = None, *, returns: "TypeForm[T]", **sent: Unpack[RequestOptions]
    ) -> T: ...
    @overload
    async def delete(
        self, path: str, params: Params = None, *, returns: object = ..., **sent: Unpack[RequestOptions]
    ) -> Any: ...
    @clean_traceback
    async def delete(
        self, path: str, params: Params = None, *, returns: Any = Any, **sent: Unpack[RequestOptions]
    ) -> Any:
        """DELETE, as `post`."""
        return await self._typed(Method.DELETE, path, params, returns, sent)

    # --- the names of 0.6: `data` is JSON, or a form with `use_form_data`; other classes are called with the JSON ---

    @overload
    async def _get(
        self, returns: type[T], path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> T: ...
    @overload
    async def _get(
        self, returns: None, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> None: ...
    @clean_traceback
    async def _get(
        self, returns: Any, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> Any:
        """GET, and the reply as `returns`: a class with `from_json`, `str`, None, or any one-argument constructor."""
        return await self._request_as_in_0_6(Method.GET, returns, path, params, data, headers)

    @overload
    async def _post(
        self, returns: type[T], path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> T: ...
    @overload
    async def _post(
        self, returns: None, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> None: ...
    @clean_traceback
    async def _post(
        self, returns: Any, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> Any:
        """POST with `data` as JSON, or as a form with `use_form_data`; the reply as for `_get`."""
        return await self._request_as_in_0_6(Method.POST, returns, path, params, data, headers)

    @overload
    async def _put(
        self, returns: type[T], path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> T: ...
    @overload
    async def _put(
        self, returns: None, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> None: ...
    @clean_traceback
    async def _put(
        self, returns: Any, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> Any:
        """PUT, as `_post`."""
        return await self._request_as_in_0_6(Method.PUT, returns, path, params, data, headers)

    @overload
    async def _patch(
        self, returns: type[T], path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> T: ...
    @overload
    async def _patch(
        self, returns: None, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> None: ...
    @clean_traceback
    async def _patch(
        self, returns: Any, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> Any:
        """PATCH, as `_post`."""
        return await self._request_as_in_0_6(Method.PATCH, returns, path, params, data, headers)

    @overload
    async def _delete(
        self, returns: type[T], path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> T: ...
    @overload
    async def _delete(
        self, returns: None, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> None: ...
    @clean_traceback
    async def _delete(
        self, returns: Any, path: str, params: Params = None, data: Any = None, headers: Headers = None
    ) -> Any:
        """DELETE, as `_post`."""
        return await self._request_as_in_0_6(Method.DELETE, returns, path, params, data, headers)

    async def _request_as_in_0_6(
        self, method: Method, returns: Any, path: str, params: Params, data: Any, headers: Headers
    ) -> Any:
        create = self._create_form_request if self.use_form_data else self._create_request
        request = create(method, path, params, data, headers)
        reply = await self._send(request)
        if returns in (None, str, bytes) or _has_fields(returns):
            return _result(returns, reply, request)
        return _construct(returns, read_reply(reply, request), request)

    async def _typed(self, method: Method, path: str, params: Params, returns: Any, options: RequestOptions) -> Any:
        reply = await self._request(method, path, params, options)
        return _result(returns, reply, Request(method, reply.url, secrets_to_mask=self.auth.secrets_to_mask))

    async def _request(
        self, method: Method, path: str, params: Params, options: RequestOptions, using: Fetch | None = None
    ) -> Reply:
        return await self._send(self._with_body(method, path, params, **options), using)

    def _with_body(
        self,
        method: Method,
        path: str,
        params: Params,
        json: Any = None,
        data: Any = None,
        files: Files | None = None,
        headers: Headers = None,
        progress: Progress | None = None,
        total: Total | None = None,
        compress: bool = False,
    ) -> Request:
        """The request with its body."""
        if json is not None and (data is not None or files is not None):
            raise ConfigError("A request has one body: json, or data, or files with the fields of data.")
        if files is not None:
            if not isinstance(data, Mapping | None):
                raise ConfigError("With files, data is a mapping: the other fields of the form.")
            body = multipart(as_form(data or {}), files, progress, total)
        elif data is None:
            request = self._create_request(method, path, params, json, headers)
            return _compressed_json(request) if compress and request.data_is_json else request
        elif isinstance(data, Mapping):
            if compress:
                raise ConfigError("A form without files is not compressed.", next_step="Leave compress out.")
            return self._create_form_request(method, path, params, data, headers)
        else:
            body = body_of(data, progress, total)
        body = body.gzipped() if compress else body
        request = self._create_request(method, path, params, None, headers)
        request.headers = body.headers(request.headers)
        # text and bytes without progress stay as they are: an Auth may have to read a form in them
        request.data = data if isinstance(data, str | bytes) and not (progress or total or compress) else body
        return request


def _compressed_json(request: Request) -> Request:
    try:
        text = json.dumps(request.data)
    except ValueError as error:  # an integer of thousands of digits
        raise ConfigError(f"{request.name}: the JSON cannot be written ({type(error).__name__}).") from None
    body = body_of(text, kind="application/json").gzipped()
    return replace(request, headers=body.headers(request.headers), data=body, data_is_json=False)


def _result(returns: Any, reply: Reply, request: Request) -> Any:
    if returns is None:
        return None
    if returns is str:
        return reply.text()
    if returns is bytes:
        return reply.body
    if not reply.body.strip() and (returns is Any or admits_none(returns)):
        return None
    return read_answer(returns, read_reply(reply, request), request.name)


def _has_fields(returns: Any) -> bool:
    """Whether it is a dataclass that cannot be called with one argument, as 0.6 calls any class."""
    if not (isinstance(returns, type) and is_dataclass(returns)) or hasattr(returns, "from_json"):
        return False
    needed = [each for each in fields(returns) if each.default is MISSING and each.default_factory is MISSING]
    return len([each for each in needed if each.init]) > 1


def _construct(returns: Any, value: Any, request: Request) -> Any:
    build: Callable[[Any], Any] = getattr(returns, "from_json", returns)
    try:
        return build(value)
    except SlyError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        if type(error).__module__ != "builtins":
            raise  # an error of the class's own
        problem = f"{getattr(returns, '__name__', 'the type')} ({type(error).__name__})"
        raise BadReplyError(
            f"{request.name} was answered with JSON that does not fit {problem}.", kind="configuration"
        ) from None
