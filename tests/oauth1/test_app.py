"""The client and the user: their JSON forms, and the three steps of a grant against an independent server."""
from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI import OAuth1, OAuth1App, OAuth1User, TokenError
from SlyAPI.errors import (
    BadReplyError,
    ConfigError,
    CredentialsError,
    CredentialsNotFoundError,
    DeniedError,
    Kind,
    NetworkError,
    RedirectError,
    SlyError,
    StateMismatchError,
)
from SlyAPI.oauth1.grant import read_access_reply, read_redirect
from SlyAPI.oauth1.signature import SignatureMethod
from SlyAPI.oauth1.user import TemporaryCredentials
from SlyAPI.web import Reply
from SlyAPI.web.secret_values import Secrets
from tests.oauth1.conftest import api_of
from tests.oauth1.test_signature import PEM, PUBLIC
from tests.support.oauth1_judge import CLIENT_KEY, CLIENT_SECRET, Judge
from tests.support.secret_search import Kept, told_by

if TYPE_CHECKING:
    from tests.conftest import Clock, Serve

CALLBACK = "http://localhost:8080/cb?own=a b&x=%C3%BC"
OWN = {
    "key": "client",
    "secret": "s3cret",
    "request_uri": "https://p.example/request",
    "authorize_uri": "https://p.example/authorize",
    "access_uri": "https://p.example/access",
}


async def consent(url: str) -> str:
    """The redirect that a person who consents is sent to."""
    async with aiohttp.ClientSession() as browser, browser.post(url, allow_redirects=False) as answer:
        return answer.headers["Location"]


# --- the grant ---


@pytest.mark.parametrize("method", ["HMAC-SHA1", "HMAC-SHA256", "RSA-SHA1", "PLAINTEXT"])
async def test_a_whole_grant_gives_a_token_that_works(
    judge: Judge, app: OAuth1App, clock: Clock, method: SignatureMethod
) -> None:
    judge.rsa_key = PUBLIC.decode()
    key: dict[str, Any] = {"private_key": PEM} if method == "RSA-SHA1" else {}
    temporary = await app.ask(CALLBACK, method=method, now=clock(), **key)
    landed = await consent(app.authorize_url(temporary))
    assert landed.startswith(CALLBACK.partition("?")[0])
    verifier = read_redirect(landed, temporary)
    user = await app.exchange_verifier(verifier, temporary, method=method, now=clock(), **key)
    auth = OAuth1(app, user, method=method, clock=clock, **key)
    assert await api_of(auth, judge.origin).get_json("/A", {"b": "c"}) == {"signed": True, "method": method}


async def test_the_callback_is_encoded_once(judge: Judge, app: OAuth1App, clock: Clock) -> None:
    temporary = await app.ask(CALLBACK, now=clock())
    assert judge.temporary[temporary.key].callback == CALLBACK
    assert "oauth_callback=\"http%3A%2F%2Flocalhost%3A8080%2Fcb%3F" in judge.log[0].headers["Authorization"]
    temporary = await app.ask(now=clock())
    assert judge.temporary[temporary.key].callback == "oob"


async def test_nothing_of_a_grant_is_in_a_body_or_an_address_but_the_persons(
    judge: Judge, app: OAuth1App, clock: Clock
) -> None:
    async with aiohttp.ClientSession(headers={"X-Mine": "s3cret"}, cookies={"a": "b"}) as client:
        temporary = await app.ask(CALLBACK, client, now=clock())
        verifier = read_redirect(await consent(app.authorize_url(temporary)), temporary)
        await app.exchange_verifier(verifier, temporary, client, now=clock())
    asked = [request for request in judge.log if request.path != "/Authorize"]
    assert [request.method for request in asked] == ["POST", "POST"]
    for request in asked:
        assert not request.query_string
        assert not await request.read()
        assert "X-Mine" not in request.headers
        assert "Cookie" not in request.headers


async def test_a_query_of_the_endpoints_is_kept_and_signed(judge: Judge, app: OAuth1App, clock: Clock) -> None:
    app = dataclasses.replace(
        app, request_uri=f"{app.request_uri}?scope=a%20b&scope=c", authorize_uri=f"{app.authorize_uri}?lang=de&name=x"
    )
    temporary = await app.ask(CALLBACK, now=clock())
    url = app.authorize_url(temporary, {"name": "My app & co", "expiration": "never"})
    assert parse_qsl(urlsplit(url).query) == [
        ("lang", "de"),
        ("oauth_token", temporary.key),
        ("name", "My app & co"),
        ("expiration", "never"),
    ]
    with pytest.raises(ConfigError, match="oauth_token"):
        app.authorize_url(temporary, {"oauth_token": "x"})


async def test_a_wrong_secret_is_a_mistake_in_the_set_up(judge: Judge, app: OAuth1App, clock: Clock) -> None:
    with pytest.raises(TokenError, match="/Request refused: HTTP 401") as caught:
        await dataclasses.replace(app, secret="wrong").ask(CALLBACK, now=clock())
    assert (caught.value.status, caught.value.kind) == (401, "configuration")
    assert "key and secret in the client file" in caught.value.next_step


async def test_a_verifier_that_is_wrong_or_used_means_a_new_grant(judge: Judge, app: OAuth1App, clock: Clock) -> None:
    temporary = await app.ask(CALLBACK, now=clock())
    verifier = read_redirect(await consent(app.authorize_url(temporary)), temporary)
    for told in ("wrong", verifier):
        if told == verifier:
            await app.exchange_verifier(verifier, temporary, now=clock())
        with pytest.raises(TokenError) as caught:
            await app.exchange_verifier(told, temporary, now=clock())
        assert (caught.value.status, caught.value.kind) == (401, "permanent")
        assert "grant oauth1" in caught.value.next_step


async def test_a_clock_that_is_off_is_named(judge: Judge, app: OAuth1App, clock: Clock) -> None:
    judge.answer = lambda request: web.Response(status=401, headers={"Date": "Fri, 15 Jan 2027 08:00:00 GMT"})
    with pytest.raises(TokenError, match="clock is 3600 s off"):
        await app.ask(CALLBACK, now=clock() - 3600)


# --- replies of every kind ---


def reply(body: str | bytes, status: int = 200, **headers: Any) -> Reply:
    raw = body.encode() if isinstance(body, str) else body
    return Reply(status, headers, raw, "https://p.example/access")


def read(told: Reply) -> OAuth1User:
    return read_access_reply(told, secrets=Secrets(("s3cret",)), now=0.0)


@pytest.mark.parametrize(
    "body",
    [
        "oauth_token=a%2Bb&oauth_token_secret=c+d",
        "oauth_token_secret=c%20d&user_id=5&screen_name=&oauth_token=a%2Bb\n",
        "﻿oauth_token=a%2Bb&oauth_token_secret=c+d",
    ],
)
def test_a_reply_is_read_whatever_else_it_holds(body: str) -> None:
    assert read(reply(body, 200, **{"Content-Type": "text/html"})) == OAuth1User("a+b", "c d")


def test_an_empty_token_secret_is_one() -> None:
    assert read(reply("oauth_token=a&oauth_token_secret=")) == OAuth1User("a", "")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>oauth_token=a</html>",
        "oauth_token=a",
        "oauth_token=&oauth_token_secret=b",
        "oauth_token=a&oauth_token=b&oauth_token_secret=c",
        "oauth_token=a%0D%0AX&oauth_token_secret=c",
        b"\xff\xfe\x00",
        "a&" * 1000,
        '{"oauth_token": "a"}',
    ],
)
def test_what_is_no_token_is_said_to_be_none(body: str | bytes) -> None:
    with pytest.raises(BadReplyError, match="not with one token"):
        read(reply(body))


@given(st.binary(max_size=200), st.integers(100, 599))
def test_any_reply_is_a_user_or_an_error_of_ours(body: bytes, status: int) -> None:
    try:
        told: object = read(reply(body, status))
    except SlyError as error:
        told = error
    assert isinstance(told, OAuth1User | SlyError)
    assert len(str(told)) < 4096


@pytest.mark.parametrize(
    ("told", "code", "kind"),
    [
        (reply("oauth_problem=token_rejected&oauth_problem_advice=x", 401), "token_rejected", "permanent"),
        (reply("oauth_problem=consumer_key_unknown", 200), "consumer_key_unknown", "configuration"),
        (reply("", 401, **{"WWW-Authenticate": 'OAuth oauth_problem="nonce_used"'}), "nonce_used", "permanent"),
        (reply("<html>", 404), "http_404", "configuration"),
        (reply("x", 302, Location="https://p.example/new"), "http_302", "configuration"),
        (reply("busy", 503, **{"Retry-After": "7"}), "http_503", "transient"),
        (reply("slow", 429), "http_429", "transient"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_refusal_says_what_helps(told: Reply, code: str, kind: Kind) -> None:
    with pytest.raises(TokenError) as caught:
        read(told)
    assert (caught.value.error, caught.value.kind, caught.value.status) == (code, kind, told.status)


async def test_a_callback_that_was_not_taken_is_said_so(judge: Judge, app: OAuth1App) -> None:
    body = "oauth_token=a&oauth_token_secret=b&oauth_callback_confirmed="
    judge.answer = lambda request: web.Response(text=body + "false")
    with pytest.raises(BadReplyError, match="callback"):
        await app.ask(CALLBACK)
    for true in ("true", "True", "TRUE"):
        judge.answer = lambda request, true=true: web.Response(text=body + true)  # type: ignore[misc]
        assert (await app.ask(CALLBACK)).key == "a"


# --- the redirect ---

TEMPORARY = TemporaryCredentials("temp&key", "temp secret")


def redirect(**told: str) -> str:
    return urlencode({"oauth_token": TEMPORARY.key, "oauth_verifier": "v & w", **told})


@pytest.mark.parametrize("before", ["", "?", "/?", "http://localhost:8080/?", "http://localhost:8080/cb?"])
def test_the_verifier_is_read_from_a_query_or_an_address(before: str) -> None:
    assert read_redirect(before + redirect(), TEMPORARY) == "v & w"


@pytest.mark.parametrize(
    "query", ["", "oauth_verifier=v", redirect(oauth_token="temp"), "oauth_token=&oauth_verifier=v", "denied=x", "%ff"]
)
def test_a_redirect_of_another_attempt_is_not_believed(query: str) -> None:
    with pytest.raises(StateMismatchError):
        read_redirect(query, TEMPORARY)


@pytest.mark.parametrize(
    "query", [redirect() + "&oauth_verifier=x", redirect(oauth_verifier=""), redirect() + "&oauth_token=temp%26key"]
)
def test_a_redirect_that_answers_twice_or_not_is_refused(query: str) -> None:
    with pytest.raises(RedirectError):
        read_redirect(query, TEMPORARY)


@pytest.mark.parametrize(
    ("query", "denied"),
    [
        (urlencode({"denied": TEMPORARY.key}), True),
        (redirect(oauth_problem="user_refused"), True),
        (redirect(error="access_denied"), True),
        (redirect(oauth_problem="consumer_key_refused"), False),
    ],
)
def test_a_persons_no_is_told_from_a_mistake(query: str, denied: bool) -> None:
    with pytest.raises(DeniedError) as caught:
        read_redirect(query, TEMPORARY)
    assert caught.value.denied is denied


@given(st.text(max_size=80))
def test_any_redirect_is_a_verifier_or_an_error_of_ours(query: str) -> None:
    with pytest.raises(RedirectError):
        read_redirect(query, TEMPORARY)


# --- JSON in and out ---


def test_asdict_gives_the_file_format(tmp_path: Path) -> None:
    app = OAuth1App.from_json_obj(OWN)
    assert app == OAuth1App("client", "s3cret", OWN["request_uri"], OWN["authorize_uri"], OWN["access_uri"])
    assert list(dataclasses.asdict(app).items()) == list(OWN.items())
    user = OAuth1User.from_json_obj({"key": "k", "secret": "s"})
    assert dataclasses.asdict(user) == {"key": "k", "secret": "s"}
    for told, cls in ((OWN, OAuth1App), ({"key": "k", "secret": "s"}, OAuth1User)):
        (tmp_path / "file.json").write_text(json.dumps(told))
        assert dataclasses.asdict(cls.from_json_file(tmp_path / "file.json")) == told


def test_a_token_answer_is_read_as_a_user_with_other_keys_beside() -> None:
    told = {"oauth_token": "k", "oauth_token_secret": "s", "user_id": "5", "screen_name": "robin"}
    assert OAuth1User.from_json_obj(told) == OAuth1User("k", "s")


def test_a_client_that_only_signs_needs_no_endpoints_until_it_asks() -> None:
    app = OAuth1App.from_json_obj({**OWN, "request_uri": "", "authorize_uri": "", "access_uri": ""})
    with pytest.raises(ConfigError, match="authorize_uri is not filled in"):
        app.authorize_url(TEMPORARY)


@pytest.mark.parametrize(
    ("obj", "problem"),
    [
        (None, "not a JSON object"),
        ([OWN], "not a JSON object"),
        ({}, "an empty JSON object"),
        ({"id": "s3cret", "secret": "s3cret", "auth_uri": "x", "token_uri": "y"}, "a client file"),
        ({"key": "k", "secret": "s3cret"}, "an OAuth 1 user file"),
        ({**OWN, "key": ""}, "key missing"),
        ({**OWN, "key": 5}, "key is not a string"),
        ({**OWN, "secret": ["s3cret"]}, "secret is not a string"),
        ({**OWN, "access_uri": "file:///s3cret"}, "access_uri is not an https URL"),
        ({**OWN, "request_uri": "https://me:s3cret@h/"}, "request_uri is not an https URL"),
    ],
)
def test_what_is_no_client_is_named_and_not_quoted(obj: Any, problem: str) -> None:
    with pytest.raises(CredentialsError, match=problem) as caught:
        OAuth1App.from_json_obj(obj, name="app.json")
    assert str(caught.value).startswith("app.json ")
    assert "s3cret" not in "".join(told_by(caught.value))


@pytest.mark.parametrize(
    ("obj", "problem"),
    [
        (None, "not a JSON object"),
        ({}, "an empty JSON object"),
        (OWN, "an OAuth 1 client file"),
        ({"token": "s3cret", "expires_at": None}, "a user file of SlyAPI"),
        ({"key": "", "secret": "s3cret"}, "key is empty"),
        ({"oauth_token": 5, "oauth_token_secret": "s3cret"}, "oauth_token is not a string"),
        ({"oauth_token": "s3cret"}, "a JSON object with other keys"),
    ],
)
def test_what_is_no_user_is_named_and_not_quoted(obj: Any, problem: str) -> None:
    with pytest.raises(CredentialsError, match=problem) as caught:
        OAuth1User.from_json_obj(obj, name="user.json")
    assert "s3cret" not in "".join(told_by(caught.value))


def test_no_file_is_file_not_found(tmp_path: Path) -> None:
    for cls in (OAuth1App, OAuth1User):
        with pytest.raises(CredentialsNotFoundError):
            cls.from_json_file(tmp_path / "none.json")


# --- plain http, the network, secrets ---


async def test_plain_http_is_refused_beyond_this_machine() -> None:
    app = OAuth1App("k", "s", *(f"http://p.example/{name}" for name in "abc"))
    with pytest.raises(ConfigError, match="plain http"):
        await app.ask(CALLBACK)
    with pytest.raises(ConfigError, match="plain http"):
        await app.exchange_verifier("v", TEMPORARY)


async def test_a_server_that_is_not_there_is_a_network_error(unused_port: int) -> None:
    uri = f"http://127.0.0.1:{unused_port}/"
    with pytest.raises(NetworkError):
        await OAuth1App("k", "s", uri, uri, uri).ask(CALLBACK)


KEPT = Kept(
    {
        "client secret": "C1ientSecretCore",
        "temporary key": "TempKeyC0re00000",
        "temporary secret": "TempSecretC0re00",
        "verifier": "Ver1fierCore0000",
        "token": "NewT0kenCore0000",
    }
)
SECRET_APP = ("key", "C1ientSecretCore/+ü")
SECRET_TEMPORARY = TemporaryCredentials("t=TempKeyC0re00000&", "TempSecretC0re00 %")
VERIFIER = "Ver1fierCore0000~/"
SAYS = {
    "an error": (401, "{sent} {all}"),
    "an error as a form": (400, "oauth_problem=x&oauth_problem_advice={all}"),
    "success without a token": (200, "{all}&oauth_token=NewT0kenCore0000"),
    "half a success": (200, "oauth_token=NewT0kenCore0000&oauth_token_secret=%0d{all}"),
    "a callback not taken": (200, "oauth_token=NewT0kenCore0000&oauth_token_secret=x&oauth_callback_confirmed=no"),
    "an error page": (500, "<html>{sent} {all}"),
    "an error with tokens": (400, "oauth_token=NewT0kenCore0000&oauth_token_secret=%20NewT0kenCore0000"),
    "an error with tokens in JSON": (401, '{{"oauth_token": "NewT0kenCore0000", "oauth_verifier" : "NewT0kenCore0000'),
    "an error with tokens in a header": (403, 'OAuth oauth_token="NewT0kenCore0000", oauth_verifier=NewT0kenCore0000'),
}


@pytest.mark.parametrize("method", ["HMAC-SHA1", "PLAINTEXT"])
@pytest.mark.parametrize("says", SAYS)
async def test_no_failure_of_a_grant_tells_a_secret(serve: Serve, says: str, method: SignatureMethod) -> None:
    status, text = SAYS[says]

    async def echo(request: web.Request) -> web.StreamResponse:
        all_of_them = " ".join((SECRET_APP[1], SECRET_TEMPORARY.key, SECRET_TEMPORARY.secret, VERIFIER))
        told = text.format(sent=request.headers["Authorization"], all=all_of_them)
        return web.Response(status=status, text=told, headers={"X-Sent": request.headers["Authorization"]})

    server = await serve(echo)
    app = OAuth1App(*SECRET_APP, server.origin, server.origin, server.origin)
    for call in (app.ask(CALLBACK, method=method), app.exchange_verifier(VERIFIER, SECRET_TEMPORARY, method=method)):
        try:
            await call
        except SlyError as error:
            shown = "".join(told_by(error))
            for name, core in KEPT.cores.items():
                known_there = name in ("client secret", "token") or "exchange" in repr(call)
                assert core not in shown or not known_there, name


def test_no_failure_of_a_redirect_tells_a_secret() -> None:
    key = SECRET_TEMPORARY.key
    for told in (
        {"oauth_token": "other", "oauth_verifier": VERIFIER},
        {"oauth_token": key, "oauth_verifier": VERIFIER, "oauth_problem": f"{VERIFIER} {key}"},
        {"oauth_token": key, "denied": key},
        {"oauth_token": key},
    ):
        with pytest.raises(RedirectError) as caught:
            read_redirect(urlencode(told), SECRET_TEMPORARY)
        KEPT.assert_hidden(told_by(caught.value))


def test_objects_print_without_a_secret() -> None:
    app = OAuth1App(*SECRET_APP, "https://p.example/a", "https://p.example/b", "https://p.example/c")
    for thing in (app, SECRET_TEMPORARY, OAuth1User("NewT0kenCore0000", "NewT0kenCore0000")):
        KEPT.assert_hidden([repr(thing), str(thing), f"{thing}"])
    assert CLIENT_KEY != CLIENT_SECRET
    assert "'key'" in repr(app)
