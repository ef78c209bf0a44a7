"""Threats that no other file's subject is: clocks that differ, requests sent once, secrets that are guessed."""
from __future__ import annotations

import hmac
import json
import math
from email.utils import formatdate
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from SlyAPI import OAuth2, OAuth2App, OAuth2User, SlyError
from SlyAPI.errors import NetworkError, StateMismatchError
from SlyAPI.oauth2.messages.authorization_code import read_redirect
from SlyAPI.transport import requests as transport
from SlyAPI.web import Method, Request
from tests.conftest import Clock, Serve
from tests.support.echoing_server import Answer, echoing, raw
from tests.support.place import place_at, state_in

LIFE = 100.0


def app_at(origin: str) -> OAuth2App:
    return OAuth2App("id", "secret", f"{origin}/auth", f"{origin}/token")


# --- clocks ---


@pytest.mark.parametrize("ahead", [0, 59, 61, 3_600, -3_600, 86_400, -86_400, 5 * 365 * 86_400, -5 * 365 * 86_400])
async def test_a_clock_that_is_off_neither_storms_nor_never_refreshes(ahead: float, clock: Clock) -> None:
    """`ahead`: seconds that the provider's clock is ahead of ours."""
    ends: dict[str, float] = {}

    def answer(sent: object) -> bytes:
        token = f"t{len(ends)}"
        ends[token] = clock.now + LIFE
        body = json.dumps({"access_token": token, "expires_in": LIFE, "refresh_token": f"r{len(ends)}"})
        return raw(200, body, f"Date: {formatdate(clock.now + ahead, usegmt=True)}")

    async with echoing(answer) as server:
        user = await app_at(server.origin).refresh(None, OAuth2User("old", "r"), now=clock.now)
        # a program that starts anew knows only what the user file says
        auth = OAuth2(app_at(server.origin), OAuth2User.from_json_obj(user.to_dict()), clock=clock)
        calls = 200
        for _ in range(calls):
            await auth.sign(None, Request(Method.GET, server.origin))
            if ends[auth.user.token] <= clock.now:  # as the API would say it: 401
                await auth.refresh_now()
            assert ends[auth.user.token] > clock.now
            clock.now += LIFE / 20
        lives = calls / 20
        assert lives <= len(ends) <= lives * 1.25 + 3


# --- sent once ---

LOST: dict[str, Answer] = {
    "429": lambda sent: raw(429, "{}", "Retry-After: 0"),
    "503": lambda sent: raw(503, "{}", "Retry-After: 1"),
    "500": lambda sent: raw(500, ""),
    "408": lambda sent: raw(408, ""),
    "401": lambda sent: raw(401, '{"error": "invalid_client"}'),
    "400": lambda sent: raw(400, '{"error": "invalid_grant"}'),
    "307": lambda sent: raw(307, "", "Location: /token"),
    "no answer": lambda sent: b"",
    "half an answer": lambda sent: raw(200, '{"access_token": "t"}')[:-5],
    "a page": lambda sent: raw(200, "<html>"),
}


@pytest.mark.parametrize("answer", LOST.values(), ids=LOST.keys())
async def test_a_refresh_is_sent_once_whatever_comes_back(answer: Answer) -> None:
    async with echoing(answer) as server:
        with pytest.raises(SlyError) as caught:
            await OAuth2(app_at(server.origin), OAuth2User("old", "r")).refresh_now()
        assert len(server.sent) == 1
        assert caught.value.retry_after == {"429": 0.0, "503": 1.0}.get(str(getattr(caught.value, "status", "")))


@pytest.mark.parametrize("answer", [LOST[name] for name in ("429", "503", "500", "307", "no answer", "half an answer")])
async def test_a_code_is_sent_once_where_it_may_have_been_taken(answer: Answer) -> None:
    async with echoing(answer) as server:
        with pytest.raises(SlyError):
            await app_at(server.origin).exchange_code("code", "verifier", [], "http://localhost")
        assert len(server.sent) == 1


async def test_an_endpoint_that_speaks_no_tls_gets_no_plain_request_instead(serve: Serve) -> None:
    server = await serve()
    with pytest.raises(NetworkError, match="TLS"):
        await app_at(server.origin.replace("http:", "https:")).refresh(None, OAuth2User("old", "r"))
    assert server.seen == []


def test_a_token_request_has_thirty_seconds_or_what_the_program_says() -> None:
    assert transport.TOKEN_TIMEOUT == app_at("https://p.example").token_timeout == 30.0
    assert OAuth2App("i", None, "a", "t", token_timeout=5.0).token_timeout == 5.0
    told = (Path(__file__).parent.parent.parent / "docs" / "security.md").read_text(encoding="utf-8")
    assert "30 s" in told
    assert "`token_timeout`" in told


# --- guesses ---


async def test_each_grant_has_a_state_of_its_own_that_nobody_guesses(tmp_path: Path) -> None:
    async with place_at(tmp_path) as place:
        links = [(await place.grants("--force"), place.browser.opened[-1])[1] for _ in range(3)]
    states = {state_in(link) for link in links}
    assert len(states) == 3
    for link in links:
        challenge = parse_qs(urlsplit(link).query)["code_challenge"][0]
        of_our_own = state_in(link).removesuffix(challenge)
        assert len(of_our_own) * math.log2(64) >= 128


def test_a_state_is_compared_in_a_time_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    with pytest.raises(StateMismatchError):
        read_redirect("code=c&state=theirs", state="ours")
    assert compared == [(b"theirs", b"ours")]
