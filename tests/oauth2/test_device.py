"""The device flow (RFC 8628): when to ask again, and how it ends."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI import OAuth2App
from SlyAPI.errors import (
    BadReplyError,
    ConfigError,
    DeniedError,
    LoginEndedError,
    NetworkError,
    SlyError,
    TokenError,
)
from SlyAPI.oauth2 import DeviceLogin
from SlyAPI.oauth2.messages.device import after_refusal, read_device_reply
from SlyAPI.testing import GRANT_TYPES
from SlyAPI.web import Reply
from SlyAPI.web.secret_values import Secrets

if TYPE_CHECKING:
    from tests.conftest import Clock, Practice, Practise, Serve

DEVICE = DeviceLogin(
    device_code="device-code-5EC9E7",
    user_code="WDJB-MJHT",
    verification_uri="https://p.example/device",
    expires_at=datetime.fromtimestamp(2_000_000_000, UTC),
    interval=5.0,
)


@dataclass
class Sleep:
    """Moves the clock in place of waiting; `then` is what happens after that many waits."""

    clock: Clock
    waits: list[float] = field(default_factory=list[float])
    then: dict[int, Any] = field(default_factory=dict[int, Any])

    async def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.now += seconds
        if len(self.waits) in self.then:
            self.then[len(self.waits)]()


async def begun(practise: Practise, **settings: Any) -> tuple[Practice, DeviceLogin, Sleep]:
    practice = await practise(**{"grant_types": GRANT_TYPES, "consent": "ask", **settings})
    practice.app.device_uri = f"{practice.provider.origin}/device_authorization"
    device = await practice.app.begin_device(["notes"], now=practice.clock())
    return practice, device, Sleep(practice.clock)


def polls(practice: Practice) -> int:
    return len([seen for seen in practice.provider.log if seen.endpoint == "token"])


async def test_a_person_consents_on_another_device(practise: Practise) -> None:
    practice, device, sleep = await begun(practise)
    assert device.verification_uri == f"{practice.provider.origin}/device"
    assert device.verification_uri_complete == f"{device.verification_uri}?user_code={device.user_code}"
    assert device.expires_at == datetime.fromtimestamp(practice.clock() + 600, UTC)
    sleep.then[3] = lambda: practice.provider.decide_device(device.user_code)
    user = await practice.app.finish_device(device, clock=practice.clock, sleep=sleep)
    assert (user.scopes, sleep.waits) == (["notes"], [5.0, 5.0, 5.0])
    assert user.refresh_token
    assert [seen.outcome for seen in practice.provider.log][-3:] == ["authorization_pending"] * 2 + ["ok"]
    assert (await practice.app.refresh(None, user, now=practice.clock())).token


async def test_a_login_survives_a_restart_and_its_code_does_not_print(practise: Practise) -> None:
    practice, device, sleep = await begun(practise)
    kept = device.to_dict()
    assert device.device_code not in repr(device) + repr(kept)
    practice.provider.decide_device(device.user_code)
    device = DeviceLogin.from_dict(json.loads(json.dumps(kept)))
    assert (await practice.app.finish_device(device, clock=practice.clock, sleep=sleep)).token


async def test_a_person_who_declines_ends_it(practise: Practise) -> None:
    practice, device, sleep = await begun(practise)
    practice.provider.decide_device(device.user_code, allow=False)
    with pytest.raises(DeniedError) as caught:
        await practice.app.finish_device(device, clock=practice.clock, sleep=sleep)
    assert caught.value.denied


@pytest.mark.parametrize("life", [3.0, 12.0, 600.0])
async def test_a_code_that_ran_out_ends_it_at_its_time(practise: Practise, life: float) -> None:
    practice, device, sleep = await begun(practise, device_code_lifetime=life)
    begin = practice.clock()
    with pytest.raises(LoginEndedError):
        await practice.app.finish_device(device, clock=practice.clock, sleep=sleep)
    assert practice.clock() == begin + life
    assert polls(practice) == (life - 0.1) // 5


async def test_slow_down_makes_the_interval_longer_for_good(practise: Practise) -> None:
    practice, device, sleep = await begun(practise)
    practice.provider.fail_next("token", 400, error="slow_down", times=2)
    sleep.then[4] = lambda: practice.provider.decide_device(device.user_code)
    await practice.app.finish_device(device, clock=practice.clock, sleep=sleep)
    assert sleep.waits == [5.0, 10.0, 15.0, 15.0]


async def test_an_outage_backs_off_keeps_retry_after_and_goes_on(practise: Practise) -> None:
    practice, device, sleep = await begun(practise)
    practice.provider.fail_next("token", 503)
    practice.provider.fail_next("token", 429, retry_after=47)
    sleep.then[4] = lambda: practice.provider.decide_device(device.user_code)
    await practice.app.finish_device(device, clock=practice.clock, sleep=sleep)
    assert sleep.waits == [5.0, 10.0, 47.0, 5.0, *sleep.waits[4:]]


async def test_a_lost_connection_is_not_the_end(practise: Practise, unused_port: int) -> None:
    practice, device, sleep = await begun(practise)
    there = practice.app.token_uri
    practice.app.token_uri = f"http://127.0.0.1:{unused_port}/token"
    practice.provider.decide_device(device.user_code)

    def comes_back() -> None:
        practice.app.token_uri = there

    sleep.then[3] = comes_back
    assert (await practice.app.finish_device(device, clock=practice.clock, sleep=sleep)).token
    assert sleep.waits == [5.0, 10.0, 20.0]


@pytest.mark.parametrize("method", ["basic", "post"])
async def test_the_client_authentication_that_works_is_found_once(practise: Practise, method: Any) -> None:
    practice, device, sleep = await begun(practise, client_auth=method)
    practice.provider.decide_device(device.user_code)
    user = await practice.app.finish_device(device, clock=practice.clock, sleep=sleep)
    assert user.client_auth == method
    refused = [seen.outcome for seen in practice.provider.log if seen.outcome == "invalid_client"]
    assert len(refused) == (0 if method == "basic" else 1)


@pytest.mark.parametrize("code", ["authorization_pending", "slow_down", "access_denied", "expired_token"])
@pytest.mark.parametrize("status", [200, 400, 401, 403])
@pytest.mark.parametrize("words", ["", "The client should keep polling."])
async def test_each_poll_is_one_request_however_the_server_words_it(
    serve: Serve, clock: Clock, code: str, status: int, words: str
) -> None:
    requests = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        if requests > 1:
            return web.json_response({"access_token": "t", "token_type": "bearer"})
        return web.json_response({"error": code, "error_description": words}, status=status)

    app, sleep = OAuth2App("id", "secret", "https://p.example", f"{(await serve(answer)).origin}/token"), Sleep(clock)
    with suppress(DeniedError, LoginEndedError):
        await app.finish_device(DEVICE, clock=clock, sleep=sleep)
    assert requests == len(sleep.waits)


async def test_the_resource_of_a_device_is_in_every_request(practise: Practise) -> None:
    resource = "https://api.example/one"
    practice = await practise(grant_types=GRANT_TYPES, resources=[resource])
    practice.app.device_uri = f"{practice.provider.origin}/device_authorization"
    device = await practice.app.begin_device(["notes"], resource=resource, now=practice.clock())
    device = DeviceLogin.from_dict(device.to_dict())
    user = await practice.app.finish_device(device, clock=practice.clock, sleep=Sleep(practice.clock))
    await practice.app.refresh(None, user, now=practice.clock())
    assert [seen.parameters["resource"] for seen in practice.provider.log] == [resource] * 3


async def test_a_refused_beginning_names_what_to_change(practise: Practise) -> None:
    practice = await practise(client_metadata={"grant_types": ["authorization_code"]}, grant_types=GRANT_TYPES)
    with pytest.raises(ConfigError, match="device_uri"):
        await practice.app.begin_device([])
    practice.app.device_uri = f"{practice.provider.origin}/device_authorization"
    with pytest.raises(TokenError, match="unauthorized_client") as caught:
        await practice.app.begin_device([])
    assert caught.value.kind == "configuration"


# --- pure ---


def refused(error: str, **more: Any) -> TokenError:
    return TokenError(400, error, message="refused", **more)


@pytest.mark.parametrize(
    ("error", "waited", "interval", "wait"),
    [
        (refused("authorization_pending"), 5.0, 5.0, 5.0),
        (refused("authorization_pending", retry_after=30.0), 5.0, 5.0, 30.0),
        (refused("authorization_pending"), 80.0, 5.0, 5.0),
        (refused("slow_down"), 5.0, 10.0, 10.0),
        (refused("slow_down", retry_after=60.0), 5.0, 10.0, 60.0),
        (NetworkError("lost"), 5.0, 5.0, 10.0),
        (NetworkError("lost"), 40.0, 5.0, 80.0),
        (NetworkError("lost"), 100.0, 5.0, 120.0),
        (refused("http_503", kind="transient", retry_after=300.0), 5.0, 5.0, 300.0),
    ],
)
def test_when_to_ask_again(error: SlyError, waited: float, interval: float, wait: float) -> None:
    device, seconds = after_refusal(DEVICE, error, waited)
    assert (device.interval, seconds) == (interval, wait)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (refused("access_denied"), DeniedError),
        (refused("expired_token"), LoginEndedError),
        (refused("invalid_grant", kind="permanent"), LoginEndedError),
        (refused("invalid_client", kind="configuration"), TokenError),
        (BadReplyError("odd", kind="configuration"), BadReplyError),
    ],
)
def test_what_ends_a_login(error: SlyError, raised: type[SlyError]) -> None:
    with pytest.raises(raised):
        after_refusal(DEVICE, error, 5.0)


GOOD: dict[str, Any] = {
    "device_code": "d",
    "user_code": "WDJBMJHT",
    "verification_uri": "https://p.example/device",
    "expires_in": 600,
}


def reply(members: Any, status: int = 200) -> Reply:
    return Reply(status, {}, json.dumps(members).encode(), "https://p.example/device_authorization")


def read(members: Any, status: int = 200) -> DeviceLogin:
    return read_device_reply(reply(members, status), now=1_800_000_000.0, scopes=["a"], secrets=Secrets())


@pytest.mark.parametrize(
    ("more", "attribute", "value"),
    [
        ({}, "interval", 5.0),
        ({"interval": 7}, "interval", 7.0),
        ({"interval": "7"}, "interval", 7.0),
        ({"interval": 0}, "interval", 5.0),
        ({"interval": -1}, "interval", 5.0),
        ({"interval": 1e9}, "interval", 120.0),
        ({"interval": 1e-9}, "interval", 0.1),
        (
            {"verification_uri": None, "verification_url": "https://p.example/d"},
            "verification_uri",
            "https://p.example/d",
        ),
        ({"verification_uri_complete": "javascript:alert(1)"}, "verification_uri_complete", None),
        (
            {"verification_uri_complete": "https://p.example/d?c=1"},
            "verification_uri_complete",
            "https://p.example/d?c=1",
        ),
        ({"user_code": "AB\u001b[31mCD"}, "user_code", "AB [31mCD"),
        ({"user_code": " ab  C-d   9 "}, "user_code", " ab  C-d   9 "),
        ({"expires_in": 1e12}, "expires_at", datetime.fromtimestamp(1_800_000_000 + 86400, UTC)),
    ],
)
def test_what_a_device_needs_is_read(more: dict[str, Any], attribute: str, value: object) -> None:
    assert getattr(read({**GOOD, **more}), attribute) == value


@pytest.mark.parametrize("lacking", ["device_code", "user_code", "verification_uri", "expires_in"])
@pytest.mark.parametrize("value", [None, "", [], 0])
def test_a_beginning_that_lacks_what_the_person_needs_is_refused(lacking: str, value: object) -> None:
    with pytest.raises(BadReplyError):
        read({**GOOD, lacking: value})


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())


@given(st.binary() | st.dictionaries(st.sampled_from([*GOOD, "interval"]), values).map(json.dumps).map(str.encode))
def test_any_reply_is_a_login_or_our_error(body: bytes) -> None:
    with suppress(SlyError):
        read_device_reply(Reply(200, {}, body, "https://p.example/d"), now=1.8e9, scopes=[], secrets=Secrets())


intervals = st.floats() | st.integers() | st.sampled_from(["0", "nan", "-5", "inf"])


@given(st.dictionaries(st.sampled_from(sorted(DEVICE.to_dict())), values), intervals)
def test_any_kept_login_is_one_that_asks_as_often_as_a_begun_one_or_our_error(
    kept: dict[str, Any], interval: object
) -> None:
    with suppress(ConfigError):
        DeviceLogin.from_dict({**DEVICE.to_dict(), **kept})
    with suppress(ConfigError):
        assert 0.1 <= DeviceLogin.from_dict({**DEVICE.to_dict(), "interval": interval}).interval <= 120


def test_a_client_that_is_not_authenticated_needs_no_secret() -> None:
    app = OAuth2App("c", None, "", "https://p.example/t", device_uri="https://p.example/d")
    assert OAuth2App.from_json_obj(app.to_dict()) == app
