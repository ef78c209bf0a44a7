"""Calls that say what comes back: `get`, `post`, `put`, `patch` and `delete`, and their siblings of SlyAPI 0.6.

The rule: `returns` is the type of the result, for the reader, the type checker and the parser alike.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack, overload

from ..errors import BadReplyError, ConfigError, SlyError
from ..transport.bodies import Content, Files, Progress, Total, body_of, multipart
from ..web.json import read_json
from ..web.messages import Method, ParamsDict, Reply, Request
from ..web.params import as_form
from .answers import admits_nothing, read_answer
from .signed_call import Fetch

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")
Params = ParamsDict | None
Headers = Mapping[str, str] | None


class Asked(TypedDict, total=False):
    """What a call may send: one of `json` and `data`, or `files` with the fields of `data`."""

    json: Any
    data: Mapping[str, Any] | Content | None
    files: Files | None
    headers: Headers
    progress: Progress | None
    total: Total | None


class Verbs:
    """The half of `WebAPI` whose methods take `returns`.

    `returns`: a dataclass, a TypedDict, a class with a classmethod `from_json`, `list[X]`, `dict[str, X]`,
    `X | None` and what else JSON can become; `str`, the text; `bytes`, the body; None: the answer is
    ignored. Without it the JSON as it is, None where the answer is empty. JSON of another shape is a
    `BadReplyError` that says where.

    What is sent, by keyword: `json`; `data`, which is a form (a mapping), text or bytes, a path, an open
    binary file, or an asynchronous iterable of bytes; `files`, a multipart form with the fields of
    `data`; `headers`. `progress(n)` is told of `n` bytes more that were sent, `total(n)` of the size
    (None: unknown) whenever the body begins.
    """

    use_form_data: bool
    _parameter_list_delimiter: str

    if TYPE_CHECKING:

        def _create_request(
            self, method: Method, path: str, params: Params, json: Any, headers: Headers
        ) -> Request: ...
        def _create_form_request(
            self, method: Method, path: str, params: Params, data: Any, headers: Headers
        ) -> Request: ...
        async def _send(self, request: Request, using: Fetch | None = None) -> Reply: ...

    @overload
    async def get(
        self, path: str, params: Params = None, *, returns: type[T], **asked: Unpack[Asked]
    ) -> T: ...
    @overload
    async def get(
        self, path: str, params: Params = None, *, returns: None, **asked: Unpack[Asked]
    ) -> None: ...
    @overload
    async def get(
        self, path: str, params: Params = None, *, returns: "TypeForm[T]", **asked: Unpack[Asked]
    ) -> T: ...
    @overload
    async def get(
        self, path: str, params: Params = None, *, returns: object = ..., **asked: Unpack[Asked]
    ) -> Any: ...
    async def get(
        self, path: str, params: Params = None, *, returns: Any = Any, **asked: Unpack[Asked]
    ) -> Any:
        """GET, and the answer as `returns` says: `await api.get("/songs", returns=list[Song])`."""
        return await self._answer(Method.GET, path, params, returns, asked)

    @overload
    async def post(
        self, path: str, params: Params = None, *, returns: type[T], **asked: Unpack[Asked]
    ) -> T: ...
    @overload
    async def post(
        self, path: str, params: Params = None, *, returns: None, **asked: Unpack[Asked]
    ) -> None: ...
    @overload
    async def post(
        self, path: str, params: Params = None, *, returns: "TypeForm[T]", **asked: Unpack[Asked]
    ) -> T: ...
    @overload
    async def post(
        self, path: str, params: Params = None, *, returns: object = ..., **asked: Unpack[Asked]
    ) -> Any: ...
    async def post(
        self, path: str, params: Params = None, *, returns: Any = Any, **asked: Unpack[Asked]
    ) -> Any:
        """POST what `asked` says (see `Verbs`), and the answer as for `get`."""
        return await self._answer(Method.POST, path, params, returns, asked)

    @overload
    async def put(
        self, path: str, params: Params = None, *, returns: type[T], **asked: Unpack[Asked]
    ) -> T: ...
    @overload
    async def put(
        self, path: str, params: Params = None, *, returns: None, **asked: Unpack[Asked]
    ) -> None: ...
    @overload
    async def put(
        self, path: str, params: Params = None, *, returns: "TypeForm[T]", **asked: Unpack[Asked]
    ) -> T: ...
    @overload
    async def put(
        self, path: str, params: Params = None, *, returns: object = ..., **asked: Unpack[Asked]
    ) -> Any: ...
    async def put(
        self, path: str, params: Params = None, *, returns: Any = Any, **asked: Unpack[Asked]
    ) -> Any:
        """PUT, as `post`."""
        return await self._answer(Method.PUT, path, params, returns, asked)

    @overload
    async def patch(
        self, path: str, params: Params = None, *, returns: type[T], **asked: Unpack[Asked]
    ) -> T: ...
    @overload
    async def patch(
        self, path: str, params: Params = None, *, returns: None, **asked: Unpack[Asked]
    ) -> None: ...
    @overload
    async def patch(
        self, path: str, params: Params = None, *, returns: "TypeForm[T]", **asked: Unpack[Asked]
    ) -> T: ...
    @overload
    async def patch(
        self, path: str, params: Params = None, *, returns: object = ..., **asked: Unpack[Asked]
    ) -> Any: ...
    async def patch(
        self, path: str, params: Params = None, *, returns: Any = Any, **asked: Unpack[Asked]
    ) -> Any:
        """PATCH, as `post`."""
        return await self._answer(Method.PATCH, path, params, returns, asked)

    @overload
    async def delete(
        self, path: str, params: Params = None, *, returns: type[T], **asked: Unpack[Asked]
    ) -> T: ...
    @overload
    async def delete(
        self, path: str, params: Params = None, *, returns: None, **asked: Unpack[Asked]
    ) -> None: ...
    @overload
    async def delete(
        self, path: str, params: Params = None, *, returns: "TypeForm[T]", **asked: Unpack[Asked]
    ) -> T: ...
    @overload
    async def delete(
        self, path: str, params: Params = None, *, returns: object = ..., **asked: Unpack[Asked]
    ) -> Any: ...
    async def delete(
        self, path: str, params: Params = None, *, returns: Any = Any, **asked: Unpack[Asked]
    ) -> Any:
        """DELETE, as `post`."""
        return await self._answer(Method.DELETE, path, params, returns, asked)

    # --- the names of 0.6: `data` is JSON, or a form when `use_form_data`; other classes are called with the JSON ---

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
        if returns in (None, str, bytes) or _has_fields(returns):
            return _result(returns, reply, request)
        return _construct(returns, read_json(reply.body, request), request)

    async def _answer(self, method: Method, path: str, params: Params, returns: Any, asked: Asked) -> Any:
        reply = await self._ask(method, path, params, asked, None)
        return _result(returns, reply, Request(method, reply.url))

    async def _ask(self, method: Method, path: str, params: Params, asked: Asked, using: Fetch | None) -> Reply:
        return await self._send(self._filled(method, path, params, **asked), using)

    def _filled(
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
    ) -> Request:
        """The request with its body."""
        if json is not None and (data is not None or files is not None):
            raise ConfigError("A request has one body: json, or data, or files with the fields of data.")
        if files is not None:
            if not isinstance(data, Mapping | None):
                raise ConfigError("Beside files, data has the form's fields: a mapping.")
            fields = as_form(data or {})
            body = multipart(fields, files, progress, total)
        elif data is None or isinstance(data, Mapping):
            if data is None:
                return self._create_request(method, path, params, json, headers)
            return self._create_form_request(method, path, params, data, headers)
        else:
            body = body_of(data, progress, total)
        request = self._create_request(method, path, params, None, body.headers(headers))
        # text and bytes as they are where nobody watches: an Auth may have to read a form in them
        request.data = data if isinstance(data, str | bytes) and not (progress or total) else body
        return request


def _result(returns: Any, reply: Reply, request: Request) -> Any:
    if returns is None:
        return None
    if returns is str:
        return reply.text()
    if returns is bytes:
        return reply.body
    if not reply.body.strip() and (returns is Any or admits_nothing(returns)):
        return None
    return read_answer(returns, read_json(reply.body, request), request.name)


def _has_fields(returns: Any) -> bool:
    """Whether it is a dataclass that nobody could have called with one argument, as 0.6 does with any class."""
    if not (isinstance(returns, type) and is_dataclass(returns)) or hasattr(returns, "from_json"):
        return False
    needed = [each for each in fields(returns) if each.default is MISSING and each.default_factory is MISSING]
    return len([each for each in needed if each.init]) > 1


def _construct(returns: Any, value: Any, request: Request) -> Any:
    build: Callable[[Any], Any] = getattr(returns, "from_json", returns)
    problem = ""
    try:
        return build(value)
    except SlyError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        problem = type(error).__name__
        if type(error).__module__ != "builtins":
            raise  # the class says so in its own words
    del value  # so that no traceback shows what a server echoed
    raise BadReplyError(
        f"{request.name} answered with JSON that is no {getattr(returns, '__name__', 'such value')} ({problem}).",
        kind="configuration",
    )
