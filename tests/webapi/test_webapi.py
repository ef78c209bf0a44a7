"""WebAPI's methods against a server that remembers what came over the wire."""
from __future__ import annotations

import asyncio
import json
import pickle
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from SlyAPI import ApiError, Auth, UrlApiKey, WebAPI
from SlyAPI.errors import BadReplyError, ConfigError
from SlyAPI.webapi import is_dataclass_instance

if TYPE_CHECKING:
    from tests.conftest import Serve, Server


class Colour(Enum):
    RED = "red"
    TWO = 2
    NOTHING = None


@dataclass
class City:
    name: str
    people: int

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        return cls(value["name"], value["people"])


def api_of(server: Server, **more: Any) -> WebAPI:
    api = WebAPI(Auth.none(), **more)
    api.base_url = server.origin
    return api


def answering(body: str | bytes, status: int = 200, **headers: str) -> Any:
    async def handler(request: web.Request) -> web.StreamResponse:
        raw = body.encode() if isinstance(body, str) else body
        return web.Response(status=status, body=raw, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return handler


# Methods.


@pytest.mark.parametrize("verb", ["get", "post", "put", "patch", "delete"])
async def test_a_json_method_sends_its_verb_query_headers_and_body(serve: Serve, verb: str) -> None:
    server = await serve()
    method = getattr(api_of(server), f"{verb}_json")
    assert await method("/things", {"q": "a b"}, json={"n": [1, None]}, headers={"X-Mine": "yes"}) == {"ok": True}
    seen = server.last
    assert (seen.method, seen.path, seen.query) == (verb.upper(), "/things", [("q", "a b")])
    assert seen.headers.getall("Content-Type") == ["application/json"]
    assert (seen.headers["X-Mine"], seen.json) == ("yes", {"n": [1, None]})


@pytest.mark.parametrize("verb", ["get", "post", "put", "patch", "delete"])
async def test_a_json_method_without_json_sends_no_body(serve: Serve, verb: str) -> None:
    server = await serve()
    await getattr(api_of(server), f"{verb}_json")("/things")
    assert (server.last.body, server.last.headers.get("Content-Type", "")) in [
        (b"", ""),
        (b"", "application/octet-stream"),
    ]


@pytest.mark.parametrize("value", [{}, [], 0, False, "text", {"a": {"b": []}}])
async def test_json_that_looks_empty_is_sent_all_the_same(serve: Serve, value: Any) -> None:
    server = await serve()
    await api_of(server).post_json("/", json=value)
    assert server.last.json == value


async def test_json_that_is_a_dataclass_goes_out_as_its_fields_and_to_json_is_asked(serve: Serve) -> None:
    class Own:
        def to_json(self) -> dict[str, int]:
            return {"own": 1}

    server = await serve()
    api = api_of(server)
    await api.post_json("/", json=City("Bergen", 3))
    await api.post_json("/", json=Own())
    assert [seen.json for seen in server.seen] == [{"name": "Bergen", "people": 3}, {"own": 1}]
    assert is_dataclass_instance(City("", 0))
    assert not is_dataclass_instance(City)


async def test_what_json_cannot_hold_is_a_type_error_before_anything_is_sent(serve: Serve) -> None:
    server = await serve()
    with pytest.raises(TypeError):
        await api_of(server).post_json("/", json={"when": object()})
    with pytest.raises(TypeError, match="'when'"):
        await api_of(server).post_form("/", data={"when": object()})
    with pytest.raises(TypeError, match="'when'"):
        await api_of(server).get_json("/", {"when": b"bytes"})
    assert server.seen == []


@pytest.mark.parametrize("kind", ["text/html", "text/plain; charset=utf-8", "application/problem+json", "odd"])
async def test_the_answer_is_read_as_json_whatever_its_content_type(serve: Serve, kind: str) -> None:
    server = await serve(answering('\ufeff{"é": 1}', Content_Type=kind))
    assert await api_of(server).get_json("/") == {"é": 1}


@pytest.mark.parametrize("status", [200, 201, 204])
async def test_an_empty_answer_is_fine_where_none_is_promised(serve: Serve, status: int) -> None:
    server = await serve(answering("", status))
    api = api_of(server)
    await api.post_json_empty("/", json={"a": 1})
    await api.post_form_empty("/", data={"a": "1"})
    assert await api.delete_json("/") is None
    await api._delete(None, "/")
    assert [seen.method for seen in server.seen] == ["POST", "POST", "DELETE", "DELETE"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [("", "empty"), ("<html>", "HTML"), ('{"a": ', "cut short"), ("[" * 100_000, "nested"), (b"\xff\xfe\xfa", "not")],
)
async def test_an_answer_that_is_no_json_is_named_for_what_it_is(serve: Serve, body: str | bytes, problem: str) -> None:
    server = await serve(answering(body))
    with pytest.raises(BadReplyError, match=problem) as caught:
        await api_of(server).get_json("/things", {"key": "value"})
    assert f"GET {server.origin}/things" in str(caught.value)
    assert "value" not in str(caught.value)


async def test_an_answer_that_is_no_json_is_what_json_raises_too_as_in_0_6(serve: Serve) -> None:
    server = await serve(answering("<html>"))
    with pytest.raises(json.JSONDecodeError) as caught:
        await api_of(server).get_json("/")
    error = caught.value
    assert isinstance(error, BadReplyError)
    assert (error.doc, error.kind, repr(type(error))) == ("", "transient", repr(BadReplyError))
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (BadReplyError, str(error))


@pytest.mark.parametrize("call", ["get_json", "post_json", "put_json", "get_form", "post_form", "put_form"])
async def test_no_content_where_json_is_promised_is_an_api_error_with_its_status(serve: Serve, call: str) -> None:
    server = await serve(answering(b"", 204))
    with pytest.raises(ApiError, match="204") as caught:
        await getattr(api_of(server), call)("/player")
    assert (caught.value.status, caught.value.kind) == (204, "permanent")


# Forms.


@pytest.mark.parametrize("verb", ["post", "put", "patch"])
async def test_a_form_is_urlencoded_by_the_rules_of_the_query_but_repeats_lists(serve: Serve, verb: str) -> None:
    server = await serve()
    data = {"a": "x y&ü+", "yes": True, "left": None, "many": ["1", 2], "colour": Colour.RED}
    assert await getattr(api_of(server), f"{verb}_form")("/", {"q": 1}, data=data) == {"ok": True}
    assert server.last.headers.getall("Content-Type") == ["application/x-www-form-urlencoded"]
    assert server.last.body == b"a=x+y%26%C3%BC%2B&yes=true&many=1&many=2&colour=red"
    assert server.last.query == [("q", "1")]


@pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE"])
async def test_a_form_that_is_text_goes_out_as_it_is_with_the_callers_only_content_type(
    serve: Serve, name: str
) -> None:
    server = await serve()
    text = '{"raw": "%41 ü"}\r\n'
    await api_of(server).post_form("/", data=text, headers={name: "text/x-mine"})
    assert server.last.body == text.encode()
    assert server.last.headers.getall("Content-Type") == ["text/x-mine"]


async def test_a_form_that_is_text_without_a_content_type_says_form(serve: Serve) -> None:
    server = await serve()
    await api_of(server).put_form("/", data="a=1&a=2")
    assert (server.last.body, server.last.headers["Content-Type"]) == (
        b"a=1&a=2",
        "application/x-www-form-urlencoded",
    )


async def test_get_form_puts_the_fields_into_the_query(serve: Serve) -> None:
    server = await serve()
    params = {"a": "1"}
    assert await api_of(server).get_form("/", params, data={"b": "2"}) == {"ok": True}
    assert (server.last.query, server.last.body) == ([("a", "1"), ("b", "2")], b"")
    assert params == {"a": "1"}


async def test_use_form_data_makes_the_body_of_post_a_form(serve: Serve) -> None:
    server = await serve()
    api = WebAPI(Auth.none(), True)
    api.base_url = server.origin
    await api._post(None, "/", data={"a": [1, 2]})
    await api_of(server)._post(None, "/", data={"a": [1, 2]})
    assert [seen.body for seen in server.seen] == [b"a=1&a=2", b'{"a": [1, 2]}']


# Any result.


@pytest.mark.parametrize("verb", ["get", "post", "put", "patch", "delete"])
async def test_the_answer_becomes_what_returns_says(serve: Serve, verb: str) -> None:
    server = await serve(answering('{"name": "Bergen", "people": 3}'))
    call = getattr(api_of(server), f"_{verb}")
    assert await call(City, "/") == City("Bergen", 3)
    assert await call(None, "/") is None
    assert await call(str, "/") == '{"name": "Bergen", "people": 3}'
    assert await call(bytes, "/") == b'{"name": "Bergen", "people": 3}'
    assert await call(list, "/") == ["name", "people"]
    assert {seen.method for seen in server.seen} == {verb.upper()}


@pytest.mark.parametrize("answer", ["{}", "[]", "null", '"text"', '{"name": 1}'])
async def test_json_that_does_not_fit_the_class_is_an_error_of_ours(serve: Serve, answer: str) -> None:
    server = await serve(answering(answer))
    with pytest.raises(BadReplyError, match="fit City"):
        await api_of(server)._get(City, "/")


async def test_what_a_class_raises_of_its_own_for_an_answer_is_left_alone(serve: Serve) -> None:
    class TheySaidNo(ValueError):
        pass

    class Answer:
        @classmethod
        def from_json(cls, value: dict[str, Any]) -> Self:
            raise TheySaidNo(value["error"])

    server = await serve(answering('{"error": "no_such_channel"}'))
    with pytest.raises(TheySaidNo, match="no_such_channel"):
        await api_of(server)._get(Answer, "/")


async def test_a_number_too_large_for_the_constructor_is_an_error_of_ours(serve: Serve) -> None:
    server = await serve(answering("1e999"))
    with pytest.raises(BadReplyError, match="fit int"):
        await api_of(server)._get(int, "/")


@pytest.mark.parametrize(
    ("charset", "body", "text"),
    [
        ("", "né".encode(), "né"),
        ("; charset=iso-8859-1", "né".encode("latin-1"), "né"),
        ("; charset=utf-16", "né".encode("utf-16"), "né"),
        ("; charset=unheard-of", "né".encode(), "né"),
        ("; charset=base64", "né".encode(), "né"),  # a codec of Python's that gives no text
        ("; charset=idna", b"x" * 100_000, "x" * 100_000),
        ("; charset=undefined", "né".encode(), "né"),
        ("", b"n\xff", "n\ufffd"),
    ],
)
async def test_text_is_read_in_the_encoding_it_names(serve: Serve, charset: str, body: bytes, text: str) -> None:
    server = await serve(answering(body, Content_Type="text/plain" + charset))
    assert await api_of(server).get_text("/") == text
    assert await api_of(server)._get(str, "/") == text


# URLs and parameters.


@pytest.mark.parametrize(("base", "path"), [("/v1", "/a/b"), ("/v1/", "a/b"), ("", "/v1/a/b"), ("/v1/a/b", "")])
async def test_base_url_and_path_are_simply_joined(serve: Serve, base: str, path: str) -> None:
    server = await serve()
    api = WebAPI(Auth.none())
    api.base_url = server.origin + base
    await api.get_json(path)
    assert server.last.path == "/v1/a/b"


async def test_base_url_may_be_changed_between_calls(serve: Serve) -> None:
    one, other = await serve(), await serve()
    api = api_of(one)
    await api.get_json("/")
    api.base_url = other.origin
    await api.get_json("/")
    assert (len(one.seen), len(other.seen)) == (1, 1)


async def test_without_a_base_url_the_error_says_so() -> None:
    with pytest.raises(ConfigError, match=r"GET /things.* has no base_url.*WebAPI\(auth, "):
        await WebAPI(Auth.none()).get_json("/things")
    with pytest.raises(ConfigError, match="base_url"):
        await WebAPI(UrlApiKey("key", "secret")).get_json("/things")


async def test_every_request_goes_through_get_full_url(serve: Serve) -> None:
    server = await serve()

    class Suffixed(WebAPI):
        base_url = server.origin

        def get_full_url(self, path: str) -> str:
            return super().get_full_url(path) + ".json"

    api = Suffixed(Auth.none())
    await api.get_json("/a", {"b": 1})
    await api.post_form("/a", data={})
    await api._put(None, "/a")
    await api.get_text("/a")
    assert [seen.path for seen in server.seen] == ["/a.json"] * 4
    assert server.seen[0].query == [("b", "1")]


async def test_parameters_are_written_as_apis_want_them(serve: Serve) -> None:
    server = await serve()
    params: dict[str, Any] = {
        "text": "",
        "zero": 0,
        "none": None,
        "no_value": Colour.NOTHING,
        "enum": Colour.TWO,
        "yes": True,
        "no": False,
        "float": 1.5,
        "list": ["a", Colour.RED, None, 3],
        "tuple": (),
        "set": frozenset({"one"}),
    }
    await api_of(server).get_json("/", params)
    assert server.last.query == [
        ("text", ""),
        ("zero", "0"),
        ("enum", "2"),
        ("yes", "true"),
        ("no", "false"),
        ("float", "1.5"),
        ("list", "a,red,3"),
        ("set", "one"),
    ]


async def test_a_subclass_may_choose_the_delimiter_of_lists(serve: Serve) -> None:
    server = await serve()

    class Piped(WebAPI):
        base_url = server.origin
        _parameter_list_delimiter = "|"

    await Piped(Auth.none()).get_json("/", {"a": [1, 2]})
    assert server.last.query == [("a", "1|2")]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
async def test_any_text_is_encoded_exactly_once(serve: Serve, text: str) -> None:
    server = await serve()
    await api_of(server).get_json("/?kept=%2B", {"a": text, "n&=": "%41"})
    assert server.last.query == [("kept", "+"), ("a", text), ("n&=", "%41")]


async def test_text_that_has_no_encoding_is_an_error_of_ours_before_anything_is_sent(serve: Serve) -> None:
    server = await serve()
    api = api_of(server)
    for call in (
        api.get_json("/", {"a": "\ud800"}),
        api.post_form("/", data={"a": "\ud800"}),
        api.post_form("/", data="\ud800"),
        api.get_json("/", headers={"X-Mine": "a\r\nb"}),
    ):
        with pytest.raises(ConfigError):
            await call
    assert server.seen == []


# The session.


async def test_the_client_is_an_aiohttp_session_made_once(serve: Serve) -> None:
    server = await serve()
    api = api_of(server)
    assert isinstance(api._client, aiohttp.ClientSession)
    assert api._client is api._client


async def test_after_close_the_next_call_makes_a_new_session(serve: Serve) -> None:
    server = await serve()
    async with api_of(server) as api:
        await api.get_json("/")
        first = api._client
    assert first.closed
    assert await api.get_json("/") == {"ok": True}
    await api.close()
    await api.close()


async def test_a_session_of_the_callers_is_used_and_stays_open(serve: Serve) -> None:
    server = await serve()
    async with aiohttp.ClientSession(headers={"X-Theirs": "1"}) as session:
        async with api_of(server, session=session) as api:
            await api.get_json("/")
        assert not session.closed
    assert server.last.headers["X-Theirs"] == "1"
    with pytest.raises(ConfigError, match="session"):
        await api.get_json("/")


async def test_a_session_that_raises_for_status_by_itself_changes_nothing(serve: Serve) -> None:
    server = await serve(answering("no", 404))
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        with pytest.raises(ApiError):
            await api_of(server, session=session).get_json("/")


# ApiError.


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 418, 429, 500, 503, 599])
async def test_every_status_from_400_on_is_an_api_error_that_names_it(serve: Serve, status: int) -> None:
    server = await serve(answering('{"error": "because"}', status, X_Trace="abc"))
    with pytest.raises(ApiError) as caught:
        await api_of(server).get_json("/things", {"a": "b"})
    error = caught.value
    assert (error.status, error.reason) == (status, '{"error": "because"}')
    assert f"HTTP {status}" in str(error)
    assert f"{server.origin}/things" in str(error)
    assert error.next_step
    assert error.next_step in str(error)
    assert error.headers["x-trace"] == "abc"
    assert (error.response.status, error.response.body) == (status, b'{"error": "because"}')
    assert error.kind == ("transient" if status in (429, 500, 503, 599) else "permanent")


async def test_every_kind_of_method_raises_it(serve: Serve) -> None:
    server = await serve(answering("", 404))
    api = api_of(server)
    for call in (
        api.get_text("/"),
        api.post_json_empty("/"),
        api.post_form_empty("/"),
        api.delete_json("/"),
        api._get(None, "/"),
        api.get_form("/"),
    ):
        with pytest.raises(ApiError):
            await call
    assert len(server.seen) == 6


async def test_an_error_that_says_when_to_come_back_is_data(serve: Serve) -> None:
    server = await serve(answering("slow down", 429, Retry_After="7"))
    with pytest.raises(ApiError, match="Wait 7 s") as caught:
        await api_of(server).get_json("/")
    assert caught.value.retry_after == 7.0


async def test_the_text_of_an_error_is_bounded_and_fit_for_a_terminal(serve: Serve) -> None:
    server = await serve(answering("\x1b[31mred\r\nLOG forged" + "x" * 1_000_000, 500))
    with pytest.raises(ApiError) as caught:
        await api_of(server).get_json("/")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    assert caught.value.reason is not None
    assert len(caught.value.reason) <= 1 << 14
    assert len(caught.value.response.body) <= 1 << 14


async def test_an_error_with_a_lot_to_say_is_kept_whole_for_programs_that_read_its_json(serve: Serve) -> None:
    details = [{"field": f"values[{number}]", "description": "is no number"} for number in range(200)]
    server = await serve(answering(json.dumps({"error": {"details": details}}), 400))
    with pytest.raises(ApiError) as caught:
        await api_of(server).get_json("/")
    assert json.loads(caught.value.reason or "")["error"]["details"] == details
    assert len(str(caught.value)) < 1000


async def test_an_error_that_comes_in_pieces_is_read_to_its_end(serve: Serve) -> None:
    async def in_pieces(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=400)
        await response.prepare(request)
        for piece in (b'{"error": ', b'"in ', b'pieces"}'):
            await response.write(piece)
            await asyncio.sleep(0.01)  # so that the pieces travel apart
        return response

    server = await serve(in_pieces)
    with pytest.raises(ApiError) as caught:
        await api_of(server).get_json("/")
    assert json.loads(caught.value.reason or "") == {"error": "in pieces"}


async def test_an_api_error_from_an_aiohttp_response_is_made_as_in_0_6(serve: Serve) -> None:
    server = await serve(answering("gone", 410))
    async with aiohttp.ClientSession() as session, session.get(server.origin) as response:
        with pytest.raises(ApiError) as caught:
            raise await ApiError.from_resposnse(response)
    assert (caught.value.status, caught.value.reason, caught.value.response) == (410, "gone", response)


@pytest.mark.parametrize("way", ["get_json", "post_json", "get", "paginated"])
@pytest.mark.parametrize("status", [201, 202, 203, 205, 300, 302, 304])
async def test_a_reply_without_json_is_named_by_its_status(serve: Serve, status: int, way: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    api = api_of(await serve(answer))
    with pytest.raises(BadReplyError, match=f"HTTP {status}"):
        await (api.get("/", returns=dict[str, int]) if way == "get" else getattr(api, way)("/"))
