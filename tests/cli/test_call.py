"""`call`: one signed request from the shell, against the practice provider and stand-in servers."""
from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI.cli.arguments import read_arguments
from SlyAPI.cli.call.byte_count import progress_text
from SlyAPI.cli.call.json_text import indented
from SlyAPI.cli.call.output import check_output
from SlyAPI.cli.call.request import read_call
from SlyAPI.cli.call.verbose import received_lines
from SlyAPI.cli.main import main
from SlyAPI.errors import ConfigError, WouldOverwriteError
from tests.conftest import Serve
from tests.support.place import Place, failure, place_at, secrets_in

pytestmark = pytest.mark.slow

EXPIRED = "2001-01-01T00:00:00Z"
Ran = tuple[int, str, str]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place, None]:
    async with place_at(tmp_path) as place:
        yield place


class Here:
    """Runs commands in this process, in the folder of a place."""

    def __init__(self, place: Place, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        self.place = place
        self._captured = capfdbinary

    async def bytes(self, *argv: str) -> tuple[int, bytes, str]:
        self._captured.readouterr()
        code = await asyncio.to_thread(main, argv)
        out, err = self._captured.readouterr()
        assert "Internal error" not in err.decode()
        return code, out, err.decode()

    async def __call__(self, *argv: str) -> Ran:
        code, out, err = await self.bytes(*argv)
        return code, out.decode(), err


@pytest.fixture
def runs(place: Place, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Here:
    monkeypatch.chdir(place.folder)
    return Here(place, capfdbinary)


async def echo(request: web.Request) -> web.StreamResponse:
    """What was sent, except for the credential."""
    sent = {name: value for name, value in request.headers.items() if name != "Authorization"}
    return web.json_response({"method": request.method, "body": await request.text(), "headers": sent})


# the practice provider's API


async def test_a_call_writes_the_reply_to_stdout_and_nothing_else(place: Place) -> None:
    await place.grants()
    ended = await place.runs("call", "app.json", "user.json", f"{place.provider.origin}/api/me")
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out)["client_id"] == "practice-client"


async def test_the_client_file_is_only_needed_for_a_refresh(place: Place) -> None:
    await place.grants()
    url = f"{place.provider.origin}/api/me"
    assert (await place.runs("call", "user.json", url)).code == 0
    expired = place.reads("user.json") | {"expires_at": EXPIRED}
    place.writes("user.json", expired)
    failure(place, await place.runs("call", "user.json", url), 3, "expired", "APP.json")
    ended = await place.runs("call", "app.json", "user.json", url)
    assert (ended.code, ended.err) == (0, "")
    saved = place.reads("user.json")
    assert saved["token"] != expired["token"]
    assert saved["refresh_token"] != expired["refresh_token"]


async def test_a_token_that_the_api_refuses_is_refreshed_and_saved(place: Place) -> None:
    await place.grants()
    granted = place.reads("user.json")
    place.writes("user.json", granted | {"token": "token-that-is-stale"})
    ended = await place.runs("call", "app.json", "user.json", "POST", f"{place.provider.origin}/api/notes", *NOTE)
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out)["text"] == "milk"
    assert place.reads("user.json")["token"] != "token-that-is-stale"


NOTE = ("--data", '{"text": "milk"}')


async def test_pages_are_json_lines(place: Place) -> None:
    await place.grants()
    ended = await place.runs("call", "app.json", "user.json", f"{place.provider.origin}/api/archive", "--paginate")
    assert (ended.code, ended.err) == (0, "")
    assert [json.loads(line)["day"] for line in ended.out.splitlines()] == list(range(100))


async def test_a_grant_that_is_over_ends_with_6_not_with_10(place: Place) -> None:
    place.user(expires_at=EXPIRED)
    ended = await place.runs("call", "app.json", "user.json", f"{place.provider.origin}/api/me")
    failure(place, ended, 6, "grant")
    assert ended.out == ""


# bodies and headers


@pytest.mark.parametrize(
    ("data", "kind", "body"),
    [
        (["--data", '{"a": 1}'], "application/json", '{"a": 1}'),
        (["--data", "[1,  2]"], "application/json", "[1,  2]"),
        (["--data", "a=b c&d=é"], "application/x-www-form-urlencoded", "a=b+c&d=%C3%A9"),
        (["--data", "a=1", "--data", "b=2"], "application/x-www-form-urlencoded", "a=1&b=2"),
        (["--data", "@body.json"], "application/json", '{"from": "a file"}'),
        (["--data", "@plain"], "application/octet-stream", "plain text"),
        (["--data", "plain text", "--header", "content-type: text/csv"], "text/csv", "plain text"),
    ],
)
async def test_a_body_is_sent_as_it_is_with_its_type(
    runs: Here, serve: Serve, data: list[str], kind: str, body: str
) -> None:
    runs.place.user()
    runs.place.writes("body.json", {"from": "a file"})
    runs.place.writes("plain", "plain text")
    server = await serve(echo)
    code, out, err = await runs("call", "user.json", f"{server.origin}/x", *data)
    assert (code, err) == (0, "")
    seen = json.loads(out)
    assert (seen["method"], seen["headers"]["Content-Type"], seen["body"]) == ("POST", kind, body)
    assert server.last.headers["Authorization"] == "Bearer token-of-before"


async def test_a_body_comes_from_standard_input(place: Place, serve: Serve) -> None:
    place.user()
    server = await serve(echo)
    ended = await place.runs("call", "user.json", "PUT", server.origin, "--data", "@-", lines=('{"a":', "1}"))
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(json.loads(ended.out)["body"]) == {"a": 1}
    assert server.last.method == "PUT"


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["user.json", "http://api.example/x"], "http"),
        (["user.json", "ftp://api.example/x"], "https"),
        (["user.json", "api.example"], "https"),
        (["user.json", "https://me:secret@api.example/"], "https"),
        (["https://api.example"], "user"),
        (["a", "b", "c", "https://api.example"], "too many"),
        (["user.json", "https://api.example", "--data", "neither"], "--data"),
        (["user.json", "https://api.example", "--data", "@absent"], "--data"),
        (["user.json", "https://api.example", "--data", "@absent", "--data", "a=b"], "--data"),
        (["user.json", "https://api.example", "--header", "no-colon"], "--header"),
        (["user.json", "https://api.example", "--header", "A: b\x1b"], "--header"),
        (["user.json", "https://api.example", "--header", "authorization: Bearer x"], "authorization"),
        (["user.json", "POST", "https://api.example", "--paginate"], "--paginate"),
        (["user.json", "https://api.example", "--data", "a=b", "--output", "f"], "--output"),
        (["user.json", "https://api.example", "--paginate", "--output", "f"], "--output"),
        (["user.json", "https://api.example", "--items", "f"], "--paginate"),
        ([], "USER.json"),
        (["app.json"], "missing"),
        (["app.json", "user.json"], "missing"),
        (["app.json", "user.json", "me"], "https"),
    ],
)
async def test_wrong_usage_sends_nothing(runs: Here, argv: list[str], word: str) -> None:
    runs.place.user()
    code, out, err = await runs("call", *argv)
    assert (code, out) == (2, "")
    assert word in err
    assert len(err.splitlines()) <= 2


usual = st.sampled_from(["app.json", "u.json", "GET", "post", "https://a.example/x?q=1#f"])
words = st.lists(usual | st.text(), min_size=1)
texts = st.lists(st.text(), max_size=2)


@given(words, texts, texts, st.booleans())
def test_any_words_are_a_request_or_a_usage_error(
    words: list[str], data: list[str], headers: list[str], in_store: bool
) -> None:
    args = SimpleNamespace(words=words, data=data, header=headers, store=None, name="ada" if in_store else None)
    args.output = args.items = args.method = None
    args.paginate = args.include = False
    with suppress(ConfigError):
        request = read_call(args)
        assert request.origin.startswith(("https://", "http://"))
        assert request.path.startswith("/")
        assert "#" not in request.path
        assert f"{request.origin}{request.path}".isprintable()
        assert request.method.isupper()


def request_of(*argv: str) -> Any:
    return read_call(read_arguments(["call", "user.json", *argv]))


@pytest.mark.parametrize("method", ["get", "GET", "Post", "patch", "DELETE"])
def test_a_method_is_taken_in_any_case_as_a_word_or_by_a_flag(method: str) -> None:
    by_flag = request_of("-X", method, "https://api.example/me")
    assert request_of(method, "https://api.example/me").method == by_flag.method == method.upper()


def test_the_flags_of_curl_mean_what_they_mean_there() -> None:
    short = request_of("https://api.example", "-d", "a=1", "-H", "Accept: text/plain", "-i")
    long = request_of("https://api.example", "--data", "a=1", "--header", "Accept: text/plain", "--include")
    assert (short, short.headers, short.data) == (long, long.headers, long.data)


@given(st.lists(st.text("abcdef0123", min_size=1), min_size=1, max_size=5))
def test_a_header_that_repeats_is_sent_with_all_its_values(values: list[str]) -> None:
    flags = [word for value in values for word in ("-H", f"Prefer: {value}")]
    assert request_of("https://api.example", *flags).headers == {"Prefer": ", ".join(values)}


BODIES = st.one_of(
    st.recursive(st.none() | st.integers() | st.text("ab é"), lambda inner: st.lists(inner) | st.dictionaries(
        st.text("ab"), inner)).map(json.dumps),
    st.lists(st.tuples(st.text("ab", min_size=1), st.text("cd é ")), min_size=1).map(
        lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)),
)


@given(BODIES)
def test_a_body_is_the_same_from_an_argument_a_pipe_and_a_file(text: str) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        (Path(folder) / "body").write_text(text, encoding="utf-8")
        patch.setattr(sys, "stdin", SimpleNamespace(buffer=BytesIO(text.encode())))
        sent = [request_of("https://api.example", "-d", word) for word in (text, "@-", f"@{folder}/body")]
    assert len({(each.data, each.headers["Content-Type"]) for each in sent}) == 1, sent


@given(BODIES.filter(lambda text: len(text) > 2 and text[0] in '[{"').map(lambda text: text[:-1]), st.booleans())
def test_what_begins_like_json_and_is_not_is_an_error_with_its_place(text: str, in_file: bool) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / "body").write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=r"line 1, column \d+"):
            request_of("https://api.example", "-d", f"@{folder}/body" if in_file else text)


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,60})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)


@given(st.lists(st.tuples(st.text("ab é\"\\\n", max_size=3), NUMBERS), max_size=6))
def test_indented_json_keeps_numbers_duplicate_names_and_order(members: list[tuple[str, str]]) -> None:
    text = "{" + ",".join(f"{json.dumps(name)}:{number}" for name, number in members) + "}"

    def read(text: str) -> Any:
        return json.loads(text, parse_int=str, parse_float=str, object_pairs_hook=list)

    assert read(indented(text)) == read(text) == members


async def test_items_of_pages_keep_numbers_duplicate_names_and_order(runs: Here, serve: Serve) -> None:
    items = ['{"a": 1.10, "b": [-0, 1e400, 0.1E+2], "a": 1, "a": {"c": ""}}', "9" * 5000, "1.0", '"\\u00e9"', "null"]
    pages = [f'{{"items": [{each}], "page": 1.50, "next_cursor": {n}}}' for n, each in enumerate(items, 1)]
    pages.append('{"items": [], "next_cursor": null}')

    async def sends(request: web.Request) -> web.StreamResponse:
        return web.json_response(text=pages[int(request.query.get("cursor", 0))])

    runs.place.user()
    server = await serve(sends)
    assert await runs("call", "user.json", server.origin, "--paginate") == (0, "\n".join(items) + "\n", "")


@pytest.mark.parametrize("text", ['{"a":[{},[],[1,{"b":"c, {d}"}]],"e":null}', "[]", "{}", "1e400", '"a"', " [ 1 ] "])
def test_indented_json_has_the_layout_of_pythons_own(text: str) -> None:
    same = indented(text)
    assert same == (json.dumps(json.loads(text), indent=2) if "e400" not in text else text)


OWN = ["app.json", "user.json", "key.pem", "certificate.pem", "store.db", "users/x.json", "body.bin", ".user.json.lock"]


@pytest.mark.posix
@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("spelled", ["plain", "absolute", "dotted", "link", "hard link"])
def test_output_is_refused_onto_each_file_of_the_call_by_any_spelling(
    own: str, spelled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users").mkdir()
    for name in OWN:
        (tmp_path / name).write_text("own")
    files = [name if "/" not in name else "users" for name in OWN if not name.endswith(".lock")]
    output = {"absolute": str(tmp_path / own), "dotted": f"users/../{own}"}.get(spelled, own)
    if "link" in spelled:
        output = "link"
        (tmp_path / own).resolve()
        (tmp_path / "link").symlink_to(own) if spelled == "link" else (tmp_path / "link").hardlink_to(own)
    if spelled == "hard link" and "/" in own:
        pytest.skip("a file in a folder of a store has a name of its own")
    with pytest.raises(WouldOverwriteError):
        check_output(output, files)
    check_output("new.bin", files)


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://a.example", "https://a.example", "/"),
        ("https://a.example?q=1", "https://a.example", "/?q=1"),
        ("HTTPS://A.example:444/x#f?g", "https://A.example:444", "/x"),
        ("http://[::1]:80/x/?q=//h", "http://[::1]:80", "/x/?q=//h"),
    ],
)
def test_a_url_is_its_origin_and_the_rest(url: str, origin: str, path: str) -> None:
    args = read_arguments(["call", "u.json", url])
    request = read_call(args)
    assert (request.origin, request.path) == (origin, path)


# statuses


@pytest.mark.parametrize(("status", "code"), [(400, 10), (404, 10), (429, 10), (500, 11), (503, 11)])
async def test_the_exit_code_is_the_kind_of_status(runs: Here, serve: Serve, status: int, code: int) -> None:
    async def refuses(request: web.Request) -> web.StreamResponse:
        return web.json_response({"message": "no"}, status=status)

    runs.place.user()
    server = await serve(refuses)
    ended, out, err = await runs("call", "user.json", f"{server.origin}/x?key=private")
    assert (ended, json.loads(out)) == (code, {"message": "no"})
    assert f"HTTP {status}" in err
    assert "private" not in err
    assert len(err.splitlines()) == 2


async def test_include_writes_status_and_headers_first(runs: Here, serve: Serve) -> None:
    runs.place.user()
    server = await serve()
    _, out, _ = await runs("call", "user.json", server.origin, "--include")
    head, _, body = out.partition("\n\n")
    assert head.startswith("HTTP/1.1 200 OK\n")
    assert "Content-Type: application/json" in head
    assert json.loads(body) == {"ok": True}
    code, out, _ = await runs("call", "user.json", f"{server.origin}/missing", "--include")
    assert (code, out.splitlines()[0]) == (10, "HTTP/1.1 404 Not Found")


async def test_a_pipe_gets_the_bytes_as_they_are(runs: Here, serve: Serve) -> None:
    whole = bytes(range(256)) * 3000

    async def sends(request: web.Request) -> web.StreamResponse:
        return web.Response(body=whole)

    runs.place.user()
    server = await serve(sends)
    assert await runs.bytes("call", "user.json", server.origin) == (0, whole, "")


async def test_a_terminal_gets_indented_json_that_cannot_control_it(place: Place, serve: Serve) -> None:
    async def sends(request: web.Request) -> web.StreamResponse:
        if request.path == "/binary":
            return web.Response(body=b"\0\1\2")
        if request.path == "/text":
            return web.Response(text="one\x1b[2J\x9b31m\ntwo\u202e")
        return web.json_response({"a": "\x1b[2J\x9b31m\u202e", "b": [1]})

    place.user()
    server = await serve(sends)
    terminal = await place.terminal("call", "user.json", f"{server.origin}/json")
    assert await terminal.ends() == 0
    assert "\x1b" not in terminal.raw
    assert json.loads(terminal.screen)["b"] == [1]
    assert '\n  "b": [\n' in terminal.screen
    terminal = await place.terminal("call", "user.json", f"{server.origin}/text")
    assert await terminal.ends() == 0
    assert not {*"\x1b\x9b\u202e"} & {*terminal.raw}
    terminal = await place.terminal("call", "user.json", f"{server.origin}/binary")
    assert await terminal.ends() == 2
    assert "--output" in terminal.screen


# where the token goes


async def test_the_token_stays_at_the_origin_of_the_url_on_redirects(runs: Here, serve: Serve) -> None:
    other = await serve()

    async def moves(request: web.Request) -> web.StreamResponse:
        if request.path == "/here":
            return web.json_response({"ok": "here"})
        to = "/here" if request.path == "/within" else f"{other.origin}/there"
        raise web.HTTPFound(to)

    runs.place.user()
    server = await serve(moves)
    assert (await runs("call", "user.json", f"{server.origin}/within"))[0] == 0
    assert server.last.headers["Authorization"] == "Bearer token-of-before"
    assert (await runs("call", "user.json", f"{server.origin}/away"))[0] == 0
    assert (other.last.path, other.last.headers.get("Authorization")) == ("/there", None)
    assert (await runs("call", "user.json", "DELETE", f"{server.origin}/away"))[0] == 2
    assert len(other.seen) == 1


@pytest.mark.parametrize("by", ["header", "body"])
async def test_the_token_stays_at_the_origin_of_the_url_on_next_pages(runs: Here, serve: Serve, by: str) -> None:
    other = await serve()

    async def pages(request: web.Request) -> web.StreamResponse:
        there = f"{other.origin}/page"
        body = {"items": [1], "next": there if by == "body" else None}
        return web.json_response(body, headers={"Link": f'<{there}>; rel="next"'} if by == "header" else {})

    runs.place.user()
    server = await serve(pages)
    code, out, err = await runs("call", "user.json", server.origin, "--paginate")
    assert (code, out) == (2, "1\n")
    assert other.origin in err
    assert other.seen == []


# pages


STYLES: dict[str, Any] = {
    "a Link header": lambda number, url: ([number], {"Link": f'<{url}?p={number + 1}>; rel="next"'}),
    "a URL": lambda number, url: ({"items": [number], "next": f"{url}?p={number + 1}"}, {}),
    "a path": lambda number, url: ({"data": [number], "links": {"next": f"/?p={number + 1}"}}, {}),
    "an object with href": lambda number, url: (
        {"items": [number], "_links": {"next": {"href": f"/?p={number + 1}"}}},
        {},
    ),
    "an OData link": lambda number, url: ({"items": [number], "@odata.nextLink": f"{url}?p={number + 1}"}, {}),
    "Google's token": lambda number, url: ({"items": [number], "nextPageToken": str(number + 1)}, {}),
    "a cursor": lambda number, url: ({"items": [number], "next_cursor": str(number + 1)}, {}),
}


@pytest.mark.parametrize("style", STYLES)
async def test_each_usual_style_of_paging_is_found(runs: Here, serve: Serve, style: str) -> None:
    origin: list[str] = []

    async def pages(request: web.Request) -> web.StreamResponse:
        names = ("p", "pageToken", "cursor")
        number = int(next((request.query[name] for name in names if name in request.query), "0"))
        body, headers = STYLES[style](number, f"{origin[0]}/")
        if number == 3:
            return web.json_response(body if isinstance(body, list) else {"items": [3], "data": [3]})
        return web.json_response(body, headers=headers)

    runs.place.user()
    server = await serve(pages)
    origin.append(server.origin)
    assert await runs("call", "user.json", f"{server.origin}/", "--paginate") == (0, "0\n1\n2\n3\n", "")


async def test_a_page_replaces_the_parameter_of_its_name_in_the_url(runs: Here, serve: Serve) -> None:
    async def pages(request: web.Request) -> web.StreamResponse:
        number = int(request.query["pageToken"])
        more = {"nextPageToken": str(number + 1)} if number < 6 else {}
        return web.json_response({"items": [number], **more})

    runs.place.user()
    server = await serve(pages)
    url = f"{server.origin}/x?tag=a&tag=b&pageToken=4&q=c d".replace(" ", "%20")
    assert (await runs("call", "user.json", url, "--paginate"))[:2] == (0, "4\n5\n6\n")
    assert server.last.query == [("tag", "a"), ("tag", "b"), ("pageToken", "6"), ("q", "c d")]


async def test_pages_without_a_list_name_the_flag_that_finds_it(runs: Here, serve: Serve) -> None:
    async def results(request: web.Request) -> web.StreamResponse:
        return web.json_response({"results": [{"id": 1}], "facets": []})

    runs.place.user()
    server = await serve(results)
    code, out, err = await runs("call", "user.json", server.origin, "--paginate")
    assert (code, out) == (11, "")
    assert "--items" in err
    assert await runs("call", "user.json", server.origin, "--paginate", "--items", "results") == (0, '{"id": 1}\n', "")


async def test_an_item_of_any_depth_is_a_line_or_a_reply_that_is_not_usable(runs: Here, serve: Serve) -> None:
    """Also in the few depths that can be read, and not written."""

    async def nested(request: web.Request) -> web.StreamResponse:
        depth = int(request.path[1:])
        return web.Response(text="[" * depth + "]" * depth, content_type="application/json")

    runs.place.user()
    server = await serve(nested)
    codes = []
    for depth in [*range(2, 900, 200), *range(930, 1060, 3), 100_000]:
        code, out, err = await runs("call", "user.json", f"{server.origin}/{depth}", "--paginate")
        assert (code, out) == (0, f"{'[' * (depth - 1)}{']' * (depth - 1)}\n") or (code, out) == (11, ""), err
        codes.append(code)
    assert codes == sorted(codes)
    assert (codes[0], codes[-1]) == (0, 11)


async def test_items_come_before_a_refusal_of_the_next_page(runs: Here, serve: Serve) -> None:
    async def pages(request: web.Request) -> web.StreamResponse:
        if request.query:
            return web.json_response({"message": "busy"}, status=503)
        return web.json_response({"items": ["first\x1b"], "next": "/?p=1"})

    runs.place.user()
    server = await serve(pages)
    code, out, err = await runs("call", "user.json", server.origin, "--paginate")
    assert (code, json.loads(out)) == (11, "first\x1b")
    assert "busy" in err


# downloads


def in_two_parts(whole: bytes) -> Any:
    async def sends(request: web.Request) -> web.StreamResponse:
        headers = {"ETag": '"one"', "Content-Length": str(len(whole))}
        if "Range" in request.headers:
            start = int(request.headers["Range"].removeprefix("bytes=").rstrip("-"))
            headers |= {"Content-Range": f"bytes {start}-{len(whole) - 1}/{len(whole)}"}
            headers["Content-Length"] = str(len(whole) - start)
            return web.Response(status=206, body=whole[start:], headers=headers)
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(whole[: len(whole) // 2])
        assert request.transport
        request.transport.close()
        return response

    return sends


async def test_a_download_is_continued_where_it_broke(runs: Here, serve: Serve) -> None:
    whole = b"0123456789" * 1000
    runs.place.user()
    server = await serve(in_two_parts(whole))
    code, out, err = await runs("call", "user.json", server.origin, "--output", "got.bin")
    assert (code, out) == (0, "")
    assert "got.bin was written" in err
    assert (runs.place.folder / "got.bin").read_bytes() == whole
    assert [seen.headers.get("Range") for seen in server.seen] == [None, "bytes=5000-"]


@pytest.mark.parametrize("name", ["user.json", "app.json"])
@pytest.mark.parametrize("spelling", ["{}", "./{}", "link-to-{}", "name-of-{}"])
async def test_a_download_never_replaces_the_files_of_the_call(
    runs: Here, serve: Serve, name: str, spelling: str
) -> None:
    runs.place.user()
    server = await serve()
    before = runs.place.reads(name)
    Path(f"link-to-{name}").symlink_to(name)
    Path(f"name-of-{name}").hardlink_to(name)
    argv = ("call", "app.json", "user.json", f"{server.origin}/x", "--output", spelling.format(name))
    code, out, err = await runs(*argv)
    assert (code, out) == (9, ""), err
    assert name in err
    assert runs.place.reads(name) == before
    assert server.seen == []


async def test_a_refused_download_leaves_the_file_alone(runs: Here, serve: Serve) -> None:
    runs.place.user()
    runs.place.writes("got.bin", "before")
    server = await serve()
    code, out, err = await runs("call", "user.json", f"{server.origin}/missing", "--output", "got.bin")
    assert (code, out) == (10, "")
    assert "404" in err
    assert (runs.place.folder / "got.bin").read_text() == "before"


@pytest.mark.parametrize(
    ("received", "size", "text"),
    [
        (0, None, "0 bytes"),
        (999, None, "999 bytes"),
        (1000, None, "1.0 kB"),
        (999_949, None, "999.9 kB"),
        (999_950, None, "1.0 MB"),
        (10**18, None, "1000000.0 TB"),
        (250, 1000, "250 bytes of 1.0 kB, 25 %"),
        (5, 0, "5 bytes"),
    ],
)
def test_progress_is_one_short_line(received: int, size: int | None, text: str) -> None:
    assert progress_text(received, size) == text


# verbose


async def test_verbose_shows_what_happens_and_no_secret(place: Place, serve: Serve) -> None:
    async def echoes(request: web.Request) -> web.StreamResponse:
        if request.path == "/":
            raise web.HTTPFound("/there?code=hush-in-a-query")
        credential = request.headers["Authorization"].rpartition(" ")[2]
        headers = {"X-Echo": credential, "Set-Cookie": "session=hush-in-a-cookie", "X-Quota": "17"}
        return web.json_response({}, headers=headers)

    await place.grants()
    place.writes("user.json", place.reads("user.json") | {"expires_at": EXPIRED})
    server = await serve(echoes)
    more = ("--verbose", "--header", "X-Api-Key: hush-in-a-header", "--header", "Accept: text/plain")
    ended = await place.runs("call", "app.json", "user.json", f"{server.origin}/?q=hush-in-the-url", *more)
    assert (ended.code, ended.out) == (0, "{}")
    for words in ("> Authorization: ***", "> X-Api-Key: ***", "> Accept: text/plain", "< HTTP 302", "< X-Quota: 17"):
        assert words in ended.err
    assert "* Token renewed" in ended.err
    assert "hush" not in ended.err
    assert secrets_in(place, ended.err) == []


CREDENTIALS = ("X-Auth-Token", "X-Subject-Token", "X-Api-Key", "Apikey", "Set-Cookie", "Authorization", "X-Session-Id")
LINKS = ("Link", "Location", "Content-Location", "Refresh", "Referer", "X-Next", "Content-Security-Policy")
LINK = r'(<|0; url=|"|)(https://a\.example)?/[a-z/]*\?(a=)?hush[&a-z=%?/]*(>; rel=next|"|)'


@given(
    st.tuples(st.sampled_from(CREDENTIALS), st.just("hush"))
    | st.tuples(st.sampled_from(LINKS), st.from_regex(LINK, fullmatch=True))
)
def test_verbose_shows_no_credential_and_no_query_of_a_reply(header: tuple[str, str]) -> None:
    (line,) = received_lines({header[0]: header[1]}, ())
    assert line.startswith(f"< {header[0]}: ")
    assert "hush" not in line


# users in a store


async def test_a_user_in_a_store_calls_and_is_refreshed_there(place: Place, serve: Serve) -> None:
    store = ("--store", "sqlite:users.db", "--name", "ada")
    ended = await place.runs("grant", "app.json", *store, "--scope", "notes")
    assert ended.code == 0, ended
    url = f"{place.provider.origin}/api/me"
    for words in (("app.json", url), ("app.json", "GET", url), (url,)):
        ended = await place.runs("call", *words, *store)
        assert (ended.code, ended.err) == (0, ""), words
        assert json.loads(ended.out)["scopes"] == ["notes"]


async def test_a_server_that_is_away_ends_with_7(runs: Here, unused_port: int) -> None:
    runs.place.user()
    code, out, err = await runs("call", "user.json", f"http://127.0.0.1:{unused_port}/")
    assert (code, out) == (7, "")
    assert "user.json was not changed" in err




# what takes its stdout, and what the docs show


@pytest.mark.parametrize("flag", ["", "--paginate"])
async def test_stdout_that_cannot_be_written_ends_with_3(place: Place, serve: Serve, flag: str) -> None:
    async def sends(request: web.Request) -> web.StreamResponse:
        return web.json_response(["x" * 100] * 10_000)

    place.user()
    server = await serve(sends)
    failure(place, await place.shell(f"slyapi call user.json {server.origin} {flag} > /dev/full"), 3, "stdout")
    ended = await place.shell(f"slyapi call user.json {server.origin} {flag} | head -c 5")
    assert (ended.code, len(ended.out)) == (0, 5)
    assert "Traceback" not in ended.err


def in_shell_page(beginning: str) -> str:
    """The line of docs/command-line.md that begins so."""
    text = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
    return next(line.removeprefix("$ ") for line in text.splitlines() if line.startswith(beginning))


async def test_the_line_for_curl_works(place: Place, serve: Serve) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    place.user(expires_at="2099-01-01T00:00:00Z")
    server = await serve()
    line = in_shell_page("$ printf").replace("https://api.example", server.origin)
    ended = await place.shell(line.replace("python -m", f"{sys.executable} -m"))
    assert (ended.code, json.loads(ended.out)) == (0, {"ok": True})
    assert server.last.headers["Authorization"] == "Bearer token-of-before"


async def test_the_line_for_git_makes_a_credential_helper(place: Place) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    place.user(expires_at="2099-01-01T00:00:00Z")
    line = in_shell_page("git config").replace("/home/me", str(place.folder))
    line = line.replace("slyapi", f"{sys.executable} -m SlyAPI")
    place.writes("set.sh", f"{line}\nprintf 'protocol=https\\nhost=git.example\\n\\n' | git credential fill\n")
    ended = await place.shell("sh set.sh")
    assert ended.code == 0, ended.err
    assert {"username=oauth2", "password=token-of-before"} <= {*ended.out.splitlines()}
