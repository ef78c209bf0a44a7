"""What a stranger writes without having read the reference: it works, or the error ends in the right code."""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import attrs
import httpx
import msgspec
import pydantic
import pytest
from aiohttp import web
from yarl import URL

import SlyAPI
from SlyAPI import Answer, ApiError, Auth, OAuth1App, OAuth1User, OAuth2, OAuth2App, OAuth2User, UrlApiKey, WebAPI
from SlyAPI.errors import BadReplyError, ConfigError, OriginError, RequestTimeoutError
from SlyAPI.paging import LinkPages
from SlyAPI.stores import FileStore, MemoryStore, SqliteStore

if TYPE_CHECKING:
    from tests.conftest import Serve

HERE = "https://api.example"


@dataclass
class Note:
    title: str


async def notes(request: web.Request) -> web.StreamResponse:
    if request.path != "/v1/notes":
        raise web.HTTPNotFound
    return web.json_response([{"title": "milk"}], headers={"X-Total": "1"})


# --- a client ---


@pytest.mark.parametrize("base", ["/v1", "/v1/"])
@pytest.mark.parametrize("path", ["notes", "/notes", "{}/v1/notes"])
async def test_one_slash_joins_base_url_and_path_and_a_whole_url_below_it_is_taken(
    serve: "Serve", base: str, path: str
) -> None:
    server = await serve(notes)
    api = WebAPI(Auth.none(), server.origin + base)
    assert await api.get(path.format(server.origin)) == [{"title": "milk"}]


@pytest.mark.parametrize(
    "path", ["https://evil.example/v1/a", "//evil.example/a", f"{HERE}/v2", f"{HERE}/v10/a", "http://api.example/v1"]
)
@pytest.mark.parametrize("base", [f"{HERE}/v1", f"{HERE}/v1/"])
async def test_a_url_elsewhere_is_refused(base: str, path: str) -> None:
    with pytest.raises(OriginError, match=r"base_url.*WebAPI\(auth, base_url\)"):
        await WebAPI(UrlApiKey("key", "hush"), base).get(path)


def test_base_url_is_an_argument_by_position_or_name_and_a_bool_there_is_use_form_data_as_in_0_6() -> None:
    auth = Auth.none()
    assert WebAPI(auth, HERE).base_url == WebAPI(auth, base_url=HERE).base_url == HERE
    assert WebAPI(auth, URL(HERE)).base_url == HERE  # type: ignore[arg-type]
    assert (WebAPI(auth, True).use_form_data, WebAPI(auth, use_form_data=True).use_form_data) == (True, True)
    assert (WebAPI(auth, HERE).use_form_data, WebAPI(auth, False).base_url) == (False, "")


APP, USER = OAuth2App("id", "secret", HERE, HERE), OAuth2User("token")
GUESSES: list[tuple[Any, str]] = [
    (APP, "WebAPI(OAuth2(app, user))"),
    (USER, "WebAPI(OAuth2(app, user))"),
    (OAuth1App("key", "secret", HERE, HERE, HERE), "WebAPI(OAuth1(app, user))"),
    (OAuth1User("key", "secret"), "WebAPI(OAuth1(app, user))"),
    ("secret", 'WebAPI(UrlApiKey("key", "..."))'),
    (None, "WebAPI(Auth.none())"),
    (OAuth2, "an object, not its class"),
    (5, "WebAPI(UrlApiKey"),
]


@pytest.mark.parametrize(("auth", "code"), GUESSES, ids=[type(guess).__name__ for guess, _ in GUESSES])
def test_anything_but_an_auth_is_refused_with_the_way_to_make_one(auth: Any, code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        WebAPI(auth)
    assert code in str(caught.value)
    assert "secret" not in str(caught.value)


BOUND: Any = OAuth2(APP, USER)
SWAPPED: Any = (USER, APP)
API: Any = WebAPI(BOUND, HERE)
WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "the user first": (lambda: OAuth2(*SWAPPED), "OAuth2(app, user)"),
    "httpx takes the auth": (lambda: httpx.Client(auth=BOUND).get(HERE), "httpx.AsyncClient(auth=signed(auth))"),
    "no base_url": (lambda: asyncio.run(WebAPI(BOUND).get("/a")), 'WebAPI(auth, "https://api.example")'),
    "no scheme": (lambda: asyncio.run(WebAPI(BOUND, "a.example/v1").get("/a")), 'WebAPI(auth, "https://a.example/v1")'),
    "a client as a dict": (lambda: OAuth2({"id": "id"}, SWAPPED[0]), "OAuth2App.from_json_obj(content)"),  # type: ignore[arg-type]
    "a user as a dict": (lambda: OAuth2(APP, {"token": "t"}), "Give a path, an OAuth2User"),  # type: ignore[arg-type]
    "at takes a list": (lambda: BOUND.at([HERE]), 'auth.at("https://api.example")'),
    "for without async": (lambda: [*API.paginated("/a")], "async for item in items, or: for item in await items"),
    "min_life as text": (lambda: asyncio.run(BOUND.token(min_life="60")), "min_life=60"),
    "min_life as a timedelta": (lambda: asyncio.run(BOUND.token(min_life=timedelta(minutes=1))), "min_life=60"),
    "the path first": (lambda: asyncio.run(API.request("/a", "GET")), 'api.request("GET", "/notes")'),
    "no method": (lambda: asyncio.run(API.request(None, "/a")), 'api.request("GET", "/notes")'),
    "a limit as text": (lambda: API.paginated("/a", limit="5"), "limit=100"),
    "a style of paging as a class": (lambda: API.paginated("/a", pages=LinkPages), "pages=LinkPages()"),
    "headers as lines": (lambda: asyncio.run(API.get("/a", headers=["A: b"])), 'headers={"Name": "value"}'),
    "a header as a number": (lambda: asyncio.run(API.get("/a", headers={"A": 1})), "Give a text."),
    "a file's name": (lambda: asyncio.run(API.post("/a", files="a.txt")), 'files={"name": Path("photo.jpg")}'),
    "a set as the body": (lambda: asyncio.run(API.post("/a", data={1})), "Give text, bytes, a path"),
}


@pytest.mark.parametrize("guess", WRONG)
def test_a_wrong_guess_is_refused_with_the_right_code(guess: str) -> None:
    call, code = WRONG[guess]
    with pytest.raises(ConfigError) as caught:
        call()
    assert code in str(caught.value)


@pytest.mark.parametrize("kind", [FileStore, SqliteStore, MemoryStore])
async def test_a_user_is_saved_by_its_entry_and_a_store_says_so(tmp_path: Path, kind: Any) -> None:
    store: Any = kind() if kind is MemoryStore else kind(tmp_path / "users")
    with pytest.raises(ConfigError, match=r"store\.user\(name\)\.save\(user\)"):
        await store.save("alice", USER)
    assert await store.names() == []


def test_a_client_for_machines_has_no_consent_page() -> None:
    assert OAuth2App("id", "secret", token_uri=HERE).auth_uri == ""


NAMES = ["Retry", "Limits", "FileStore", "SqliteStore", "MemoryStore", "RedisStore", "PostgresStore", "Answer"]
ERRORS = [name for name, value in vars(SlyAPI.errors).items() if inspect.isclass(value) and name.endswith("Error")]


@pytest.mark.parametrize("name", [*NAMES, *ERRORS])
def test_what_programs_name_is_importable_from_the_top_and_not_part_of_the_star(name: str) -> None:
    assert inspect.isclass(getattr(SlyAPI, name))
    assert name in dir(SlyAPI)
    assert name not in SlyAPI.__all__ or name in ["ApiError", "GrantEndedError", "SlyError", "TokenError"]


# --- calls ---


def test_the_keywords_of_a_call_are_in_its_signature() -> None:
    for verb in (WebAPI.get, WebAPI.post, WebAPI.put, WebAPI.patch, WebAPI.delete, WebAPI.request):
        by_name = [p.name for p in inspect.signature(verb).parameters.values() if p.kind is p.KEYWORD_ONLY]
        assert by_name[:8] == ["params", "returns", "json", "data", "files", "headers", "timeout", "progress"]


@pytest.mark.parametrize("method", ["get", "GET", "Get"])
async def test_request_gives_the_whole_answer_for_a_method_in_any_case(serve: "Serve", method: str) -> None:
    server = await serve(notes)
    answer = await WebAPI(Auth.none(), f"{server.origin}/v1").request(method, "notes", returns=list[Note])
    assert isinstance(answer, Answer)
    assert (answer.status, answer.headers["x-TOTAL"], answer.value) == (200, "1", [Note("milk")])
    assert (answer.url, answer.json()) == (f"{server.origin}/v1/notes", [{"title": "milk"}])
    assert answer.text == '[{"title": "milk"}]'


async def test_request_without_returns_has_no_value_and_a_refusal_is_an_api_error(serve: "Serve") -> None:
    server = await serve(notes)
    api = WebAPI(Auth.none(), server.origin)
    assert (await api.request("DELETE", "/v1/notes")).value is None
    with pytest.raises(ApiError, match="404"):
        await api.request("PROPFIND", "/else")


async def test_head_gives_status_and_headers(serve: "Serve") -> None:
    server = await serve(notes)
    answer = await WebAPI(Auth.none(), server.origin).head("/v1/notes", params={"a": 1})
    assert (answer.status, answer.headers["X-Total"], answer.text) == (200, "1", "")
    assert (server.last.method, server.last.query) == ("HEAD", [("a", "1")])


def call_verb(verb: str, api: WebAPI, given: dict[str, Any]) -> Any:
    return getattr(api, verb)("/", **given)


CALLS: dict[str, Callable[[WebAPI, dict[str, Any]], Any]] = {
    **{verb: partial(call_verb, verb) for verb in ("get", "post", "head", "get_json", "put_form")},
    "request": lambda api, given: api.request("GET", "/", **given),
    "paginated": lambda api, given: api.paginated("/", **given),
    "stream": lambda api, given: api.stream("/", **given).__aenter__(),
    "download": lambda api, given: api.download("/", "never-written", **given),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("where", ["call", "client"])
async def test_a_timeout_counts_the_whole_call(serve: "Serve", call: str, where: str) -> None:
    async def hangs(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    server = await serve(hangs)
    api = WebAPI(Auth.none(), server.origin, timeout=0.05 if where == "client" else None)
    with pytest.raises(RequestTimeoutError, match=r"within 0\.05 s"):
        await CALLS[call](api, {} if where == "client" else {"timeout": 0.05})


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "5", True], ids=str)
async def test_a_timeout_that_is_not_a_number_of_seconds_is_refused(timeout: Any) -> None:
    with pytest.raises(ConfigError, match="timeout=10"):
        WebAPI(Auth.none(), HERE, timeout=timeout)
    with pytest.raises(ConfigError, match="timeout=10"):
        await WebAPI(Auth.none(), HERE).get("/", timeout=timeout)


@pytest.mark.parametrize(
    ("params", "sent"),
    [
        ([("tag", "a"), ("n", 1), ("tag", "b")], [("tag", "a"), ("tag", "b"), ("n", "1")]),
        ((("tag", "a"),), [("tag", "a")]),
        ([("tag", None)], []),
        ([], []),
        ({"tag": ["a", "b"]}, [("tag", "a,b")]),
    ],
    ids=str,
)
async def test_params_may_be_pairs_that_repeat_a_name(serve: "Serve", params: Any, sent: list[tuple[str, str]]) -> None:
    server = await serve()
    api = WebAPI(Auth.none(), server.origin)
    await api.get("/", params=params)
    assert server.last.query == sent
    await api.get_json("/", params)
    assert server.last.query == sent


async def test_a_list_repeats_its_name_where_the_delimiter_is_none(serve: "Serve") -> None:
    class Repeats(WebAPI):
        _parameter_list_delimiter = None

    server = await serve()
    await Repeats(Auth.none(), server.origin).get("/", params={"tag": ["a", "b,c", None], "none": []})
    assert server.last.query == [("tag", "a"), ("tag", "b,c")]


@pytest.mark.parametrize("params", ["tag", 5, [("a", 1, 2)], [1]], ids=str)
async def test_other_params_are_refused_with_the_right_form(params: Any) -> None:
    with pytest.raises(ConfigError, match=r'params=\{"name": "value"\}'):
        await WebAPI(Auth.none(), HERE).get("/", params=params)


async def test_params_by_position_are_python_s_own_error() -> None:
    with pytest.raises(TypeError, match="positional"):
        await WebAPI(Auth.none(), HERE).get("/", {"q": 1})  # type: ignore[call-overload]


class Model(pydantic.BaseModel):
    title: str
    tags: list[int] = []


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ('[{"title": "a"}, {"title": 7}]', r"\[1\]\.title: expected what Model takes, found another value"),
        ('[{"title": "a", "tags": ["hush"]}]', r"\[0\]\.tags: expected what Model takes"),
        ('[{"hush": "a"}]', r"\[0\]\.title: "),
        ('["hush"]', r"\[0\]: expected what Model takes, found str"),
    ],
)
async def test_a_pydantic_class_names_the_member_that_does_not_fit(serve: "Serve", body: str, where: str) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=body)

    with pytest.raises(BadReplyError, match=where) as caught:
        await WebAPI(Auth.none(), (await serve(answer)).origin).get("/", returns=list[Model])
    assert "hush" not in str(caught.value)


@attrs.define
class Attrs:
    title: str
    tags: list[int] = attrs.Factory(list)


@pytest.mark.parametrize("kind", ["pydantic", "attrs", "msgspec"])
async def test_classes_of_pydantic_attrs_and_msgspec_read_a_reply_and_are_sent(serve: "Serve", kind: str) -> None:
    if kind == "msgspec":
        cls: Any = msgspec.defstruct("Struct", [("title", str), ("tags", list[int])])
    else:
        cls = {"pydantic": Model, "attrs": Attrs}[kind]

    async def echoes(request: web.Request) -> web.StreamResponse:
        return web.Response(body=await request.read(), content_type="application/json")

    async with WebAPI(Auth.none(), (await serve(echoes)).origin) as api:
        one = cls(title="a", tags=[1])
        assert await api.post("/", json=[one], returns=list[cls]) == [one]
        with pytest.raises(BadReplyError, match=r"title|Struct"):
            await api.post("/", json={"tags": []}, returns=cls)


@pytest.mark.parametrize("path", [UUID(int=1), Path("/a"), 5, None, b"/a", date(2026, 1, 2)])
async def test_a_path_that_is_no_text_is_refused_with_the_right_form(path: Any) -> None:
    with pytest.raises(ConfigError, match=r'a text, such as f"/notes/\{key\}"'):
        await WebAPI(Auth.none(), HERE).get(path)


@pytest.mark.parametrize("path", ["/a#b", "a/C#", "#"])
async def test_a_hash_in_a_path_is_refused_because_what_follows_it_is_another_resource(path: str) -> None:
    with pytest.raises(ConfigError, match=r"contains '#'.*urllib\.parse\.quote"):
        await WebAPI(Auth.none(), HERE).delete(path)


@pytest.mark.parametrize("query", ["a=%2F%3A%27%2C", "a=%20+%2b", "a=%7E&b=%C3%A9"])
async def test_the_escapes_of_a_path_are_sent_as_they_came(serve: "Serve", query: str) -> None:
    seen: list[str] = []

    async def sees(request: web.Request) -> web.StreamResponse:
        seen.append(request.raw_path)
        return web.json_response({})

    api = WebAPI(Auth.none(), (await serve(sees)).origin)
    await api.get(f"/x%2Fy?{query}", params={"more": "/"})
    assert seen == [f"/x%2Fy?{query}&more=/"]


# --- results ---


class Point(NamedTuple):
    x: int
    y: int = 0


@dataclass
class Price:
    amount: Decimal
    rate: float = 0.0


@pytest.mark.parametrize(
    ("returns", "body", "value"),
    [
        (Point, '{"x": 1, "more": 2}', Point(1)),
        (list[Point], "[[1, 2], [3]]", [Point(1, 2), Point(3)]),
        (dict[int, str], '{"1": "a", "-2": "b"}', {1: "a", -2: "b"}),
        (list[Price], '[{"amount": 1.10, "rate": 1.5}]', [Price(Decimal("1.10"), 1.5)]),
        (Decimal, "0.1000000000000000055511151231257827", Decimal("0.1000000000000000055511151231257827")),
        (Decimal | None, '"1.10"', Decimal("1.10")),
    ],
    ids=str,
)
async def test_results_of_further_types(serve: "Serve", returns: Any, body: str, value: Any) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(text=body)

    found = await WebAPI(Auth.none(), (await serve(answer)).origin).get("/", returns=returns)
    assert (found, str(found)) == (value, str(value))


class Plain:
    def __init__(self, value: object) -> None:
        self.value = value


@pytest.mark.parametrize("returns", [Plain, list[Plain], dict[str, Plain | None], complex, bytearray], ids=str)
@pytest.mark.parametrize("way", ["get", "request", "paginated"])
async def test_any_other_class_is_refused_before_anything_is_sent(serve: "Serve", way: str, returns: Any) -> None:
    server = await serve()
    api = WebAPI(Auth.none(), server.origin)
    call = partial(api.request, "GET") if way == "request" else getattr(api, way)
    with pytest.raises(ConfigError, match=r"JSON cannot become .*dataclass"):
        await call("/", returns=returns)
    assert server.seen == []


@pytest.mark.parametrize("text", ["1.10", "0.1000000000000000055511151231257827", "1E+3", "-0"])
async def test_a_decimal_is_sent_with_its_own_digits(serve: "Serve", text: str) -> None:
    server = await serve()
    api = WebAPI(Auth.none(), server.origin)
    await api.post("/", json={"a": [Decimal(text), "x"], "b": {"c": Price(Decimal(text))}})
    assert server.last.body.decode() == f'{{"a": [{text}, "x"], "b": {{"c": {{"amount": {text}, "rate": 0.0}}}}}}'
    assert server.last.headers["Content-Type"] == "application/json"
    await api.get("/", params={"amount": Decimal(text)})
    assert server.last.query == [("amount", text)]
