"""What the library tells of itself: one event each, with fields by documented names and no secret."""
from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from SlyAPI import ApiError, Auth, UrlApiKey, WebAPI
from SlyAPI.errors import NetworkError
from SlyAPI.limits import Limits
from SlyAPI.retry import Retry

if TYPE_CHECKING:
    from tests.conftest import Practise, Serve

KEY = "s3cretkey0000"
OBSERVING = Path(__file__).parent.parent.parent / "docs" / "observing.md"
PLAIN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def api_at(origin: str, auth: Auth | None = None, **more: Any) -> WebAPI:
    api = WebAPI(auth or Auth.none(), **more)
    api.base_url = origin
    return api


def fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in PLAIN}


def events(caplog: pytest.LogCaptureFixture, name: str = "SlyAPI") -> list[logging.LogRecord]:
    return [record for record in caplog.records if f"{record.name}.".startswith(f"{name}.")]


@pytest.fixture(autouse=True)
def at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "SlyAPI")


async def test_a_request_is_one_event_with_method_url_status_time_and_size(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve()
    await api_at(server.origin, UrlApiKey("key", KEY)).get_json("/things", {"q": "private"})
    (told,) = events(caplog)
    assert (told.name, told.levelname) == ("SlyAPI.request", "DEBUG")
    known = fields(told)
    assert known.pop("ms") > 0
    url = f"{server.origin}/things"
    assert known == {"event": "request", "method": "GET", "url": url, "status": 200, "bytes": 12, "error": ""}
    assert told.getMessage().startswith(f"GET {url}: HTTP 200, ")


async def test_a_refusal_and_a_connection_that_fails_are_events_too(
    serve: Serve, unused_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ApiError):
        await api_at((await serve()).origin).get_json("/missing")
    with pytest.raises(NetworkError):
        await api_at(f"http://127.0.0.1:{unused_port}").get_json("/?private=1")
    refused, failed = map(fields, events(caplog))
    assert refused["status"] == 404
    assert (failed["status"], failed["bytes"], failed["error"]) == (None, 0, "ClientConnectorError")
    assert "ClientConnectorError" in caplog.text
    assert "private" not in caplog.text


async def test_a_refresh_is_told_with_host_reason_and_end(practise: Practise, caplog: pytest.LogCaptureFixture) -> None:
    place = await practise()
    auth = place.auth(await place.grant())
    api = place.api(auth)
    caplog.clear()
    place.clock.now += 1000
    await api.get_json("/me")
    place.provider.revoke_access_tokens()
    await api.get_json("/me")
    await auth.refresh_now()
    told = [fields(record) for record in events(caplog, "SlyAPI.refresh")]
    assert [one["why"] for one in told] == ["due", "refused", "asked for"]
    end = "2027-01-15T08:18:20Z"
    assert {(one["event"], one["host"], one["until"]) for one in told} == {("refresh", "127.0.0.1", end)}
    asked = [fields(record) for record in events(caplog, "SlyAPI.request")]
    assert [one["url"] for one in asked if one["method"] == "POST"] == [place.provider.token_url] * 3
    held = (auth.user.token, str(auth.user.refresh_token), str(place.app.secret))
    assert not any(secret in f"{vars(record)}" for record in caplog.records for secret in held)


async def test_every_field_of_every_event_is_documented(
    serve: Serve, practise: Practise, caplog: pytest.LogCaptureFixture
) -> None:
    async def busy(request: web.Request) -> web.Response:
        return web.Response(status=503)

    async def no_sleep(seconds: float) -> None:
        times.append(seconds)

    times: list[float] = []
    place = await practise()
    await place.auth(await place.grant()).refresh_now()
    with pytest.raises(ApiError):
        await api_at((await serve(busy)).origin, retry=Retry(sleep=no_sleep)).get_json("/")
    slow = Limits(per_second=0.5, clock=lambda: sum(times), sleep=no_sleep)
    api = api_at((await serve()).origin, limits=slow)
    await api.get_json("/")
    await api.get_json("/")
    lines = OBSERVING.read_text("utf-8").splitlines()
    rows = [line.split("|")[1:-1] for line in lines if line.startswith("| `SlyAPI.")]
    documented = {row[0].strip(" `"): {name.strip(" `") for name in row[3].split(",")} for row in rows}
    seen = {record.name: set(fields(record)) - {"event"} for record in events(caplog)}
    assert seen == documented


async def test_a_trace_hears_of_api_requests_and_never_of_token_requests(practise: Practise) -> None:
    heard: list[str] = []

    async def begins(session: Any, context: Any, params: aiohttp.TraceRequestStartParams) -> None:
        heard.append(params.url.path)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(begins)
    place = await practise()
    user = await place.grant()
    place.clock.now += 1000
    auth = place.auth(user)
    await place.api(auth, trace_configs=[trace]).get_json("/me")
    assert heard == ["/api/me"]
    place.clock.now += 1000
    async with aiohttp.ClientSession(trace_configs=[trace]) as session:
        await place.api(auth, session=session).get_json("/me")
    assert heard == ["/api/me"] * 2
    assert place.refreshes == 2
