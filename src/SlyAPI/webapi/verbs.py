"""The methods that say what the reply is: `get`, `post`, `put`, `patch`, `delete`, `head` and `request`.

The rule: `returns` is the type of the result, for the reader, the type checker and the parser.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack, overload

from ..errors import ConfigError, clean_traceback
from ..transport.bodies import Content, Files, Progress, Total, body_of, multipart
from ..web.messages import Method, Reply, Request
from ..web.params import as_form
from .answer import Answer
from .answers import AnswerType, answer_type
from .older_verbs import Headers, OlderVerbs, Params
from .sent_json import dumps

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")


class SentOptions(TypedDict, total=False):
    """The keywords of `stream`, which `Verbs` describes."""

    json: Any
    data: Mapping[str, Any] | Content | None
    files: Files | None
    headers: Headers
    timeout: float | None
    progress: Progress | None
    total: Total | None
    compress: bool


class RequestOptions(SentOptions, total=False):
    """The keywords of `get`, `post` and their siblings."""

    params: Params


class Verbs(OlderVerbs):
    """The half of `WebAPI` whose methods take `returns`; all of them take these keywords.

    `returns`: the type of the result. Without it, the JSON as it is, None if the reply is empty.
        A dataclass, TypedDict, NamedTuple or enum; a class of pydantic, attrs or msgspec; a class with a
        classmethod `from_json`; `Decimal`, `datetime`, `date`; `list[X]`, `dict[str, X]`, `X | None` and other
        unions of these; `str`, the text; `bytes`, the body; None: the reply is ignored.
    `params`: the query, a mapping or pairs. A list is one parameter with commas between its members.
    `json`: the JSON body. `data`: the body as a form (a mapping), text, bytes, a path, an open binary file, or
        an asynchronous iterable of bytes. `files`: a multipart form, with the fields of `data`.
    `headers`: further request headers. `timeout`: seconds for the whole call.
    `compress`: sends the body in gzip, which few APIs accept; not for a form without files.
    `progress(n)`: called with each number of sent bytes; `total(n)`: with the size (None: unknown) when the body
        starts.

    Raises `ApiError` for a status of 400 or more, `BadReplyError` with the path for JSON of another shape,
    `NetworkError`, `RequestTimeoutError`; `ConfigError` before anything is sent.

    >>> song = await api.post("/songs", json={"title": "So What"}, returns=Song)  # doctest: +SKIP
    """

    _parameter_list_delimiter: str | None

    @overload
    async def get(self, path: str, *, returns: type[T], **sent: Unpack[RequestOptions]) -> T: ...
    @overload
    async def get(self, path: str, *, returns: None, **sent: Unpack[RequestOptions]) -> None: ...
    @overload
    async def get(self, path: str, *, returns: "TypeForm[T]", **sent: Unpack[RequestOptions]) -> T: ...
    @overload
    async def get(self, path: str, *, returns: object = ..., **sent: Unpack[RequestOptions]) -> Any: ...
    @clean_traceback
    async def get(
        self,
        path: str,
        *,
        params: Params = None,
        returns: Any = Any,
        json: Any = None,
        data: Mapping[str, Any] | Content | None = None,
        files: Files | None = None,
        headers: Headers = None,
        timeout: float | None = None,
        progress: Progress | None = None,
        total: Total | None = None,
        compress: bool = False,
    ) -> Any:
        """GET, and the reply as `returns`: `await api.get("/songs", returns=list[Song])`."""
        expected = answer_type(returns)
        request = self._with_body(Method.GET, path, params, json, data, files, headers, progress, total, compress)
        return self._typed(expected, await self._send(request, timeout=timeout), Method.GET)

    @overload
    async def post(self, path: str, *, returns: type[T], **sent: Unpack[RequestOptions]) -> T: ...
    @overload
    async def post(self, path: str, *, returns: None, **sent: Unpack[RequestOptions]) -> None: ...
    @overload
    async def post(self, path: str, *, returns: "TypeForm[T]", **sent: Unpack[RequestOptions]) -> T: ...
    @overload
    async def post(self, path: str, *, returns: object = ..., **sent: Unpack[RequestOptions]) -> Any: ...
    @clean_traceback
    async def post(
        self,
        path: str,
        *,
        params: Params = None,
        returns: Any = Any,
        json: Any = None,
        data: Mapping[str, Any] | Content | None = None,
        files: Files | None = None,
        headers: Headers = None,
        timeout: float | None = None,
        progress: Progress | None = None,
        total: Total | None = None,
        compress: bool = False,
    ) -> Any:
        """POST, and the reply as `returns`: `await api.post("/songs", json=song, returns=Song)`."""
        expected = answer_type(returns)
        request = self._with_body(Method.POST, path, params, json, data, files, headers, progress, total, compress)
        return self._typed(expected, await self._send(request, timeout=timeout), Method.POST)

    @overload
    async def put(self, path: str, *, returns: type[T], **sent: Unpack[RequestOptions]) -> T: ...
    @overload
    async def put(self, path: str, *, returns: None, **sent: Unpack[RequestOptions]) -> None: ...
    @overload
    async def put(self, path: str, *, returns: "TypeForm[T]", **sent: Unpack[RequestOptions]) -> T: ...
    @overload
    async def put(self, path: str, *, returns: object = ..., **sent: Unpack[RequestOptions]) -> Any: ...
    @clean_traceback
    async def put(
        self,
        path: str,
        *,
        params: Params = None,
        returns: Any = Any,
        json: Any = None,
        data: Mapping[str, Any] | Content | None = None,
        files: Files | None = None,
        headers: Headers = None,
        timeout: float | None = None,
        progress: Progress | None = None,
        total: Total | None = None,
        compress: bool = False,
    ) -> Any:
        """PUT, as `post`."""
        expected = answer_type(returns)
        request = self._with_body(Method.PUT, path, params, json, data, files, headers, progress, total, compress)
        return self._typed(expected, await self._send(request, timeout=timeout), Method.PUT)

    @overload
    async def patch(self, path: str, *, returns: type[T], **sent: Unpack[RequestOptions]) -> T: ...
    @overload
    async def patch(self, path: str, *, returns: None, **sent: Unpack[RequestOptions]) -> None: ...
    @overload
    async def patch(self, path: str, *, returns: "TypeForm[T]", **sent: Unpack[RequestOptions]) -> T: ...
    @overload
    async def patch(self, path: str, *, returns: object = ..., **sent: Unpack[RequestOptions]) -> Any: ...
    @clean_traceback
    async def patch(
        self,
        path: str,
        *,
        params: Params = None,
        returns: Any = Any,
        json: Any = None,
        data: Mapping[str, Any] | Content | None = None,
        files: Files | None = None,
        headers: Headers = None,
        timeout: float | None = None,
        progress: Progress | None = None,
        total: Total | None = None,
        compress: bool = False,
    ) -> Any:
        """PATCH, as `post`."""
        expected = answer_type(returns)
        request = self._with_body(Method.PATCH, path, params, json, data, files, headers, progress, total, compress)
        return self._typed(expected, await self._send(request, timeout=timeout), Method.PATCH)

    @overload
    async def delete(self, path: str, *, returns: type[T], **sent: Unpack[RequestOptions]) -> T: ...
    @overload
    async def delete(self, path: str, *, returns: None, **sent: Unpack[RequestOptions]) -> None: ...
    @overload
    async def delete(self, path: str, *, returns: "TypeForm[T]", **sent: Unpack[RequestOptions]) -> T: ...
    @overload
    async def delete(self, path: str, *, returns: object = ..., **sent: Unpack[RequestOptions]) -> Any: ...
    @clean_traceback
    async def delete(
        self,
        path: str,
        *,
        params: Params = None,
        returns: Any = Any,
        json: Any = None,
        data: Mapping[str, Any] | Content | None = None,
        files: Files | None = None,
        headers: Headers = None,
        timeout: float | None = None,
        progress: Progress | None = None,
        total: Total | None = None,
        compress: bool = False,
    ) -> Any:
        """DELETE, as `post`."""
        expected = answer_type(returns)
        request = self._with_body(Method.DELETE, path, params, json, data, files, headers, progress, total, compress)
        return self._typed(expected, await self._send(request, timeout=timeout), Method.DELETE)

    @overload
    async def request(
        self, method: Method | str, path: str, *, returns: type[T], **sent: Unpack[RequestOptions]
    ) -> Answer[T]: ...
    @overload
    async def request(
        self, method: Method | str, path: str, *, returns: None = None, **sent: Unpack[RequestOptions]
    ) -> Answer[None]: ...
    @overload
    async def request(
        self, method: Method | str, path: str, *, returns: "TypeForm[T]", **sent: Unpack[RequestOptions]
    ) -> Answer[T]: ...
    @clean_traceback
    async def request(
        self,
        method: Method | str,
        path: str,
        *,
        params: Params = None,
        returns: Any = None,
        json: Any = None,
        data: Mapping[str, Any] | Content | None = None,
        files: Files | None = None,
        headers: Headers = None,
        timeout: float | None = None,
        progress: Progress | None = None,
        total: Total | None = None,
        compress: bool = False,
    ) -> Answer[Any]:
        """Any method, and the whole reply: `answer = await api.request("GET", "/songs", returns=list[Song])`.

        `answer.status`, `.headers`, `.url`, `.text`, `.json()`, and `.value`, which is what `returns` made.
        """
        expected, method = answer_type(returns), Method(method)
        request = self._with_body(method, path, params, json, data, files, headers, progress, total, compress)
        reply = await self._send(request, timeout=timeout)
        value = self._typed(expected, reply, method)
        return Answer(reply.status, reply.headers, reply.url, reply.body, value, _method=method)

    @clean_traceback
    async def head(
        self, path: str, *, params: Params = None, headers: Headers = None, timeout: float | None = None
    ) -> Answer[None]:
        """HEAD: the status and the headers that a GET would have."""
        request = self._create_request(Method("HEAD"), path, params, None, headers)
        reply = await self._send(request, timeout=timeout)
        return Answer(reply.status, reply.headers, reply.url, b"", None, _method=request.method)

    def _typed(self, expected: AnswerType, reply: Reply, method: Method) -> Any:
        return self._result(expected, reply, Request(method, reply.url, secrets_to_mask=self.auth.secrets_to_mask))

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
            return _compressed_json(request) if compress and json is not None else request
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
        text = dumps(request.data)
    except ValueError as error:  # an integer of thousands of digits
        raise ConfigError(f"{request.name}: the JSON cannot be written ({type(error).__name__}).") from None
    body = body_of(text, kind="application/json").gzipped()
    return replace(request, headers=body.headers(request.headers), data=body, data_is_json=False)
