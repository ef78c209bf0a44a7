"""The methods of SlyAPI 0.6: `get_json` and its siblings, and `_get` and its siblings, which take `returns` first.

The rule: a method's name says what it sends and how it reads the reply. In `_post` and its siblings `data` is JSON, or
a form with `use_form_data`, and a class without `from_json` is called with the JSON.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence, Set
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ..auth.contract import Auth
from ..errors import ApiError, BadReplyError, SlyError, clean_traceback
from ..web.messages import Method, ParamsDict, ParamType, Reply, Request
from ..web.params import as_mapping
from .answers import AnswerType, answer_type
from .signed_call import Fetch

T = TypeVar("T")
JsonDict = dict[str, Any]
GET = Method.GET  # Python 3.11 looks up an enum's member by three calls
Pair = tuple[str, ParamType]
Params = ParamsDict | Sequence[Pair] | Set[Pair] | Iterator[Pair] | None  # with Iterable mypy misreads `{"a": [1]}`
"""Query parameters: a mapping, or pairs, which may repeat a name."""
Headers = Mapping[str, str] | None
Seconds = float | None


class OlderVerbs:
    """The half of `WebAPI` that SlyAPI 0.6 had too."""

    auth: Auth
    use_form_data: bool = False

    if TYPE_CHECKING:

        def _create_request(
            self, method: Method, path: str, params: Params, json: Any, headers: Headers
        ) -> Request: ...
        def _create_form_request(
            self, method: Method, path: str, params: Params, data: Any, headers: Headers
        ) -> Request: ...
        def _send(
            self, request: Request, using: Fetch | None = None, timeout: float | None = None
        ) -> Awaitable[Reply]: ...
        def _read_json(self, request: Request, reply: Reply, *, digits: bool = False) -> Any: ...

    # --- JSON in, JSON out ---

    @clean_traceback
    async def get_json(
        self, path: str, params: Params = None, json: Any = None, headers: Headers = None, *, timeout: Seconds = None
    ) -> JsonDict:
        """GET, and the JSON of the reply whatever its Content-Type is."""
        request = self._create_request(GET, path, params, json, headers)
        return self._object(request, await self._send(request, None, timeout))

    @clean_traceback
    async def post_json(
        self, path: str, params: Params = None, json: Any = None, headers: Headers = None, *, timeout: Seconds = None
    ) -> JsonDict:
        """POST with a JSON body, and the JSON of the reply."""
        return await self._json(self._create_request(Method.POST, path, params, json, headers), timeout)

    @clean_traceback
    async def put_json(
        self, path: str, params: Params = None, json: Any = None, headers: Headers = None, *, timeout: Seconds = None
    ) -> JsonDict:
        """PUT with a JSON body, and the JSON of the reply."""
        return await self._json(self._create_request(Method.PUT, path, params, json, headers), timeout)

    @clean_traceback
    async def patch_json(
        self, path: str, params: Params = None, json: Any = None, headers: Headers = None, *, timeout: Seconds = None
    ) -> JsonDict:
        """PATCH with a JSON body, and the JSON of the reply."""
        return await self._json(self._create_request(Method.PATCH, path, params, json, headers), timeout)

    @clean_traceback
    async def delete_json(
        self, path: str, params: Params = None, json: Any = None, headers: Headers = None, *, timeout: Seconds = None
    ) -> Any:
        """DELETE, and the JSON of the reply; None if the reply is empty."""
        request = self._create_request(Method.DELETE, path, params, json, headers)
        reply = await self._send(request, timeout=timeout)
        return self._read_json(request, reply) if reply.body.strip() else None

    @clean_traceback
    async def post_json_empty(
        self, path: str, params: Params = None, json: Any = None, headers: Headers = None, *, timeout: Seconds = None
    ) -> None:
        """POST with a JSON body; the reply, which may be empty, is ignored."""
        await self._send(self._create_request(Method.POST, path, params, json, headers), timeout=timeout)

    # --- forms ---

    @clean_traceback
    async def get_form(
        self, path: str, params: Params = None, data: Any = None, headers: Headers = None, *, timeout: Seconds = None
    ) -> JsonDict:
        """GET with the fields of `data` in the query (text: as the body), and the JSON of the reply."""
        if isinstance(data, Mapping):
            params, data = {**as_mapping(params or {}), **data}, None
        return await self._json(self._create_form_request(GET, path, params, data, headers), timeout)

    @clean_traceback
    async def post_form(
        self, path: str, params: Params = None, data: Any = None, headers: Headers = None, *, timeout: Seconds = None
    ) -> JsonDict:
        """POST with a form (a mapping, or text sent as it is), and the JSON of the reply."""
        return await self._json(self._create_form_request(Method.POST, path, params, data, headers), timeout)

    @clean_traceback
    async def put_form(
        self, path: str, params: Params = None, data: Any = None, headers: Headers = None, *, timeout: Seconds = None
    ) -> JsonDict:
        """PUT with a form, and the JSON of the reply."""
        return await self._json(self._create_form_request(Method.PUT, path, params, data, headers), timeout)

    @clean_traceback
    async def patch_form(
        self, path: str, params: Params = None, data: Any = None, headers: Headers = None, *, timeout: Seconds = None
    ) -> JsonDict:
        """PATCH with a form, and the JSON of the reply."""
        return await self._json(self._create_form_request(Method.PATCH, path, params, data, headers), timeout)

    @clean_traceback
    async def post_form_empty(
        self, path: str, params: Params = None, data: Any = None, headers: Headers = None, *, timeout: Seconds = None
    ) -> None:
        """POST with a form; the reply, which may be empty, is ignored."""
        await self._send(self._create_form_request(Method.POST, path, params, data, headers), timeout=timeout)

    # --- text ---

    @clean_traceback
    async def get_text(
        self, path: str, params: Params = None, json: Any = None, headers: Headers = None, *, timeout: Seconds = None
    ) -> str:
        """GET, and the text of the reply in the encoding that it names, else UTF-8."""
        return (await self._send(self._create_request(GET, path, params, json, headers), timeout=timeout)).text()

    async def _json(self, request: Request, timeout: float | None) -> JsonDict:
        return self._object(request, await self._send(request, None, timeout))

    def _object(self, request: Request, reply: Reply, *, digits: bool = False) -> JsonDict:
        """The JSON of a reply. Raises `ApiError` for a 204, which programs written for 0.6 rely on."""
        if reply.status == 204:
            message = f"{request.name} was answered with HTTP 204 (no content) instead of JSON."
            raise ApiError(204, "", reply, message=message)
        return self._read_json(request, reply, digits=digits)  # type: ignore[no-any-return]

    # --- `returns` first ---

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
            return self._result(answer_type(returns), reply, request)
        return _construct(returns, self._read_json(request, reply), request)

    def _result(self, expected: AnswerType, reply: Reply, request: Request) -> Any:
        """The reply as the caller's type; None for an empty body where the type permits it."""
        returns = expected.hint
        if returns is None:
            return None
        if returns is str:
            return reply.text()
        if returns is bytes:
            return reply.body
        if not reply.body.strip() and (returns is Any or expected.admits_none):
            return None
        return expected.read(self._read_json(request, reply, digits=expected.digits), request.name)


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
