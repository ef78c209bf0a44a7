"""The token endpoint: who may ask, how, and what a code is worth."""
from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import pytest

if TYPE_CHECKING:
    from tests.testing.conftest import Practice, Start

SECRET = "s3 cret/ü+%:"
FORM = "application/x-www-form-urlencoded"


def header(plain: str) -> str:
    return "Basic " + base64.b64encode(plain.encode()).decode()


def encoded(client_id: str, secret: str) -> str:
    return header(f"{quote_plus(client_id)}:{quote_plus(secret)}")


async def code_form(practice: Practice, **more: str) -> list[tuple[str, str]]:
    """An exchange that lacks nothing but the client's credentials."""
    return [
        ("grant_type", "authorization_code"),
        ("code", await practice.code()),
        ("redirect_uri", practice.asked["redirect_uri"]),
        ("code_verifier", "v" * 43),
        *more.items(),
    ]


async def test_a_code_becomes_tokens(start: Start) -> None:
    async with start() as practice:
        reply = await practice.exchange(await practice.code())
        assert reply.status == 200
        tokens = reply.json
        assert set(tokens) == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
        assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 5)
        assert tokens["scope"] == "weather.read notes"
        assert len(tokens["access_token"]) == len(tokens["refresh_token"]) == 43
        assert reply.headers["Cache-Control"] == "no-store"
        assert practice.provider.exchanges == 1


async def test_no_two_tokens_are_the_same(start: Start) -> None:
    async with start() as practice:
        first, second = await practice.tokens(), await practice.tokens()
        assert len({t[name] for t in (first, second) for name in ("access_token", "refresh_token")}) == 4


# Codes.


async def test_a_second_use_of_a_code_ends_what_came_of_the_first(start: Start) -> None:
    async with start() as practice:
        code = await practice.code()
        tokens, others = (await practice.exchange(code)).json, await practice.tokens()
        assert (await practice.exchange(code)).error == "invalid_grant"
        assert not await practice.works(tokens["access_token"])
        assert (await practice.refresh(tokens["refresh_token"])).error == "invalid_grant"
        assert await practice.works(others["access_token"])


async def test_a_code_expires(start: Start) -> None:
    async with start(code_lifetime=60) as practice:
        early, late = await practice.code(), await practice.code()
        practice.clock.now += 59
        assert (await practice.exchange(early)).status == 200
        practice.clock.now += 1
        assert (await practice.exchange(late)).error == "invalid_grant"


@pytest.mark.parametrize(
    "changed",
    [{"redirect_uri": "http://localhost:8080/back/"}, {"code_verifier": "w" * 43}],
)
async def test_a_wrong_redirect_uri_or_verifier_ends_the_code(start: Start, changed: dict[str, str]) -> None:
    async with start() as practice:
        code = await practice.code()
        reply = await practice.exchange(code, **changed)
        assert (reply.status, reply.error) == (400, "invalid_grant")
        assert (await practice.exchange(code)).error == "invalid_grant"


@pytest.mark.parametrize("verifier", ["v" * 42, "v" * 129, "ü" * 43, "v" * 42 + "=", "v" * 43 + "\n"])
async def test_what_is_no_verifier_is_an_invalid_request(start: Start, verifier: str) -> None:
    async with start() as practice:
        code = await practice.code()
        assert (await practice.exchange(code, code_verifier=verifier)).error == "invalid_request"
        assert (await practice.exchange(code)).status == 200


async def test_a_code_is_of_no_use_to_another_client_and_survives_it(start: Start) -> None:
    async with start() as practice:
        practice.provider.add_client("other", "its secret", ["http://localhost:8080/back"])
        code = await practice.code()
        pairs = list({**dict(await code_form(practice)), "code": code}.items())
        url, other = practice.provider.token_url, encoded("other", "its secret")
        assert (await practice.post(url, pairs, Authorization=other)).error == "invalid_grant"
        tokens = (await practice.exchange(code)).json
        assert (await practice.post(url, pairs, Authorization=other)).error == "invalid_grant"
        assert await practice.works(tokens["access_token"])


async def test_an_unknown_code_is_refused(start: Start) -> None:
    async with start() as practice:
        assert (await practice.exchange("never given")).error == "invalid_grant"


# Forms.


@pytest.mark.parametrize("missing", ["grant_type", "code", "redirect_uri", "code_verifier"])
async def test_a_missing_parameter_is_an_invalid_request(start: Start, missing: str) -> None:
    async with start() as practice:
        code = await practice.code()
        for nothing in (None, ""):  # RFC 6749 §3.2: without a value is as good as absent
            reply = await practice.exchange(code, **{missing: nothing})
            assert (reply.status, reply.error) == (400, "invalid_request")
        assert (await practice.exchange(code)).status == 200


@pytest.mark.parametrize("grant_type", ["password", "client_credentials", "Authorization_Code"])
async def test_other_grant_types_are_unsupported(start: Start, grant_type: str) -> None:
    async with start() as practice:
        reply = await practice.exchange(await practice.code(), grant_type=grant_type)
        assert (reply.status, reply.error) == (400, "unsupported_grant_type")


@pytest.mark.parametrize("name", ["grant_type", "code", "code_verifier", "odd"])
async def test_a_repeated_parameter_is_refused(start: Start, name: str) -> None:
    async with start() as practice:
        pairs = await code_form(practice, odd="x")
        pairs.append((name, dict(pairs)[name]))
        reply = await practice.post(
            practice.provider.token_url, pairs, Authorization=encoded("practice-client", SECRET)
        )
        assert (reply.status, reply.error) == (400, "invalid_request")


@pytest.mark.parametrize("query", ["client_id=practice-client&client_secret=x", "code=x", "x"])
async def test_nothing_is_taken_from_the_url(start: Start, query: str) -> None:
    async with start() as practice:
        reply = await practice.post(
            f"{practice.provider.token_url}?{query}",
            await code_form(practice),
            Authorization=encoded("practice-client", SECRET),
        )
        assert (reply.status, reply.error) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", '{"grant_type": "refresh_token", "refresh_token": "x"}'),
        ("text/plain", "grant_type=refresh_token&refresh_token=x"),
        ("multipart/form-data; boundary=x", "--x--"),
        (FORM, "grant_type=refresh_token&refresh_token=%ff"),
        (FORM, "grant_type=refresh_token&refresh_token=x" + "".join(f"&a{n}=b" for n in range(200))),
    ],
)
async def test_only_a_proper_form_is_read(start: Start, content_type: str, body: str) -> None:
    async with start() as practice:
        reply = await practice.send(
            "POST",
            practice.provider.token_url,
            body,
            Content_Type=content_type,
            Authorization=encoded("practice-client", SECRET),
        )
        assert (reply.status, reply.error) == (400, "invalid_request")
        assert reply.headers["Cache-Control"] == "no-store"


async def test_a_form_may_name_its_charset(start: Start) -> None:
    async with start() as practice:
        reply = await practice.post(
            practice.provider.token_url,
            await code_form(practice),
            Content_Type=f"{FORM}; charset=UTF-8",
            Authorization=encoded("practice-client", SECRET),
        )
        assert reply.status == 200


async def test_a_huge_body_is_refused(start: Start) -> None:
    async with start() as practice:
        reply = await practice.send("POST", practice.provider.token_url, b"a" * 70_000, Content_Type=FORM)
        assert reply.status == 413


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_only_post_asks_for_tokens(start: Start, method: str) -> None:
    async with start() as practice:
        reply = await practice.send(method, practice.provider.token_url)
        assert (reply.status, reply.headers["Allow"]) == (405, "POST")


# Who the client is.


@pytest.mark.parametrize("client_auth", ["any", "basic"])
async def test_a_client_authenticates_with_form_encoded_basic(start: Start, client_auth: str) -> None:
    async with start(client_auth=client_auth) as practice:
        pairs = await code_form(practice, client_id="practice-client")  # the same id again harms nothing
        authorization = encoded("practice-client", SECRET)
        assert authorization != header(f"practice-client:{SECRET}")
        reply = await practice.post(practice.provider.token_url, pairs, Authorization=authorization)
        assert reply.status == 200
        assert practice.provider.log[-1].client_auth == "basic"


@pytest.mark.parametrize("client_auth", ["any", "post"])
async def test_a_client_authenticates_in_the_form(start: Start, client_auth: str) -> None:
    async with start(client_auth=client_auth) as practice:
        pairs = await code_form(practice, client_id="practice-client", client_secret=SECRET)
        assert (await practice.post(practice.provider.token_url, pairs)).status == 200
        assert practice.provider.log[-1].client_auth == "post"


async def test_the_wrong_method_is_an_invalid_client_and_the_code_survives(start: Start) -> None:
    in_form = {"client_id": "practice-client", "client_secret": SECRET}
    for client_auth in ("basic", "post"):
        async with start(client_auth=client_auth) as practice:
            url, pairs = practice.provider.token_url, await code_form(practice)
            by_form = [*pairs, *in_form.items()]
            by_header = encoded("practice-client", SECRET)
            if client_auth == "basic":
                refused = await practice.post(url, by_form)
                taken = await practice.post(url, pairs, Authorization=by_header)
            else:
                refused = await practice.post(url, pairs, Authorization=by_header)
                taken = await practice.post(url, by_form)
            assert (refused.status, refused.error) == (401, "invalid_client")
            assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")
            assert taken.status == 200


@pytest.mark.parametrize(
    "authorization",
    [
        encoded("practice-client", "wrong"),
        encoded("practice-client", ""),
        encoded("someone-else", SECRET),
        header(f"practice-client:{SECRET}"),  # not form-encoded first
        header("practice-client:s3+cret%2F%C3%BC%2B%:"),
        header("practice-client:%ff"),
        header("no colon"),
        "Basic " + base64.b64encode(b"practice-client:\xff").decode(),
        "Basic !!!",
        encoded("practice-client", SECRET)[:-4] + "!" + encoded("practice-client", SECRET)[-4:],
        "Basic",
        "Bearer abc",
    ],
)
async def test_wrong_credentials_are_an_invalid_client(start: Start, authorization: str) -> None:
    async with start() as practice:
        pairs = await code_form(practice)
        reply = await practice.post(practice.provider.token_url, pairs, Authorization=authorization)
        assert (reply.status, reply.error) == (401, "invalid_client")
        assert reply.headers["WWW-Authenticate"].startswith("Basic realm=")
        good = encoded("practice-client", SECRET)
        assert (await practice.post(practice.provider.token_url, pairs, Authorization=good)).status == 200


@pytest.mark.parametrize(
    "in_form",
    [
        {},
        {"client_id": "practice-client"},
        {"client_id": "practice-client", "client_secret": "wrong"},
        {"client_id": "someone-else", "client_secret": SECRET},
        {"client_secret": SECRET},
    ],
)
async def test_missing_or_wrong_credentials_in_the_form_are_an_invalid_client(
    start: Start, in_form: dict[str, str]
) -> None:
    async with start() as practice:
        reply = await practice.post(practice.provider.token_url, await code_form(practice, **in_form))
        assert (reply.status, reply.error) == (401, "invalid_client")


@pytest.mark.parametrize("in_form", [{"client_secret": SECRET}, {"client_id": "someone-else"}])
async def test_two_ways_to_authenticate_at_once_are_an_invalid_request(
    start: Start, in_form: dict[str, str]
) -> None:
    async with start() as practice:
        pairs = await code_form(practice, **in_form)
        good = encoded("practice-client", SECRET)
        reply = await practice.post(practice.provider.token_url, pairs, Authorization=good)
        assert (reply.status, reply.error) == (400, "invalid_request")


async def test_a_public_client_just_says_its_name(start: Start) -> None:
    async with start(client_secret=None) as practice:
        tokens = await practice.tokens()
        assert practice.provider.log[-1].client_auth == "none"
        assert (await practice.refresh(tokens["refresh_token"])).status == 200


async def test_a_public_client_has_no_secret_to_show(start: Start) -> None:
    async with start(client_secret=None) as practice:
        url = practice.provider.token_url
        for secret in ("x", "None"):
            pairs = await code_form(practice, client_id="practice-client", client_secret=secret)
            assert (await practice.post(url, pairs)).error == "invalid_client"
        empty = encoded("practice-client", "")
        reply = await practice.post(url, await code_form(practice), Authorization=empty)
        assert reply.error == "invalid_client"
