"""Registrations and logins at a provider that others wrote, with all its features on, and what it refuses.

The rule: public names only; each refusal is the provider's own answer, and waiting is its clock moved on.
"""
from __future__ import annotations

import json
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from SlyAPI import OAuth2App, OAuth2User
from SlyAPI.errors import (
    ApiError,
    ConfigError,
    DeniedError,
    GrantEndedError,
    LoginEndedError,
    RedirectError,
    TokenError,
)
from SlyAPI.oauth2 import DeviceLogin
from tests.end_to_end.oidc_everything import API, INITIAL_ACCESS_TOKEN, Everything, errors_of, machine
from tests.end_to_end.oidc_server import OidcServer
from tests.end_to_end.plain_person import consents

# --- registration and its management (RFC 7591, RFC 7592) ---


async def registered(everything: Everything, **more: Any) -> OAuth2App:
    usual = {"client_name": "Weather", "initial_access_token": INITIAL_ACCESS_TOKEN}
    return await OAuth2App.register(everything.issuer, **{**usual, **more})


async def test_a_client_registers_works_changes_and_ends(everything: Everything) -> None:
    made = await registered(everything)
    app = OAuth2App.from_json_obj(json.loads(json.dumps(made.to_dict())))
    assert (await app.request_token(["notes"], resource=API)).scopes == ["notes"]

    before = app.registration_access_token
    changed = await app.update_registration(client_name="Tides", token_endpoint_auth_method="client_secret_post")
    assert (changed.id, changed.secret) == (app.id, app.secret)
    assert changed.registration_access_token != before
    user = await changed.request_token(["notes"], resource=API)
    with pytest.raises(TokenError, match="invalid_client"):
        await app.request_token(["notes"], resource=API)

    await changed.delete_registration()
    with pytest.raises(TokenError, match="invalid_client"):
        await changed.request_token(["notes"], resource=API)
    with pytest.raises(TokenError, match="invalid_client"):
        await changed.introspect(user.token)


async def test_a_registration_that_was_revoked_or_whose_token_was_renewed_cannot_be_changed(
    everything: Everything,
) -> None:
    app = await registered(everything, redirect_uris=["http://127.0.0.1:8080/"])
    kept = app.to_dict()
    app = await app.update_registration(client_name="Tides")
    for stale in (OAuth2App.from_json_obj(kept), app):
        if stale is app:
            await app.delete_registration()
        with pytest.raises(TokenError) as caught:
            await stale.update_registration(client_name="Waves")
        assert (caught.value.status, caught.value.error) == (401, "invalid_token")
        with pytest.raises(TokenError):
            await stale.delete_registration()


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"initial_access_token": None}, "invalid_token"),
        ({"initial_access_token": "another"}, "invalid_token"),
        ({"redirect_uris": ["http://weather.example/"], "application_type": "native"}, "invalid_redirect_uri"),
        ({"grant_types": ["magic"]}, "invalid_client_metadata"),
    ],
    ids=["no token", "another token", "redirect", "grant type"],
)
async def test_a_registration_is_refused_by_name(everything: Everything, more: dict[str, Any], error: str) -> None:
    with pytest.raises(TokenError) as caught:
        await registered(everything, **more)
    assert caught.value.error == error
    assert INITIAL_ACCESS_TOKEN not in str(caught.value)


# --- the device flow (RFC 8628) ---


class Waiting:
    """Time that passes on both sides alike when SlyAPI waits; `waited` are the seconds, `then` happens after some."""

    def __init__(self, server: OidcServer, then: dict[int, Callable[[], Awaitable[object]]] | None = None) -> None:
        self.server, self.then, self.later = server, then or {}, 0.0
        self.waited: list[float] = []

    def clock(self) -> float:
        return time.time() + self.later

    async def sleep(self, seconds: float) -> None:
        await self.server.later(math.ceil(seconds))
        self.later += math.ceil(seconds)
        self.waited.append(round(seconds, 1))
        if len(self.waited) in self.then:
            await self.then[len(self.waited)]()


async def begin(everything: Everything) -> tuple[OAuth2App, DeviceLogin]:
    app = await machine(everything, "device", None)
    device = await app.begin_device("notes offline_access")
    return app, DeviceLogin.from_dict(json.loads(json.dumps(device.to_dict())))


async def test_a_person_who_takes_long_consents_on_another_device(everything: Everything) -> None:
    app, device = await begin(everything)
    assert device.verification_uri_complete is not None
    complete = device.verification_uri_complete
    waiting = Waiting(everything.server, {60: lambda: consents(complete)})
    user = await app.finish_device(device, clock=waiting.clock, sleep=waiting.sleep)
    assert user.scopes == ["notes"]
    assert waiting.waited == [5.0] * 60
    assert await errors_of(everything) == ["authorization_pending"] * 59 + [None]

    with pytest.raises(LoginEndedError):
        await app.finish_device(device, clock=waiting.clock, sleep=waiting.sleep)


async def test_slow_down_makes_every_later_wait_longer(everything: Everything) -> None:
    app, device = await begin(everything)
    hasty = replace(device, interval=2.0)
    waiting = Waiting(everything.server, {5: lambda: consents(str(device.verification_uri_complete))})
    await app.finish_device(hasty, clock=waiting.clock, sleep=waiting.sleep)
    pending = "authorization_pending"
    assert await errors_of(everything) == [pending, "slow_down", pending, pending, None]
    assert waiting.waited == [2.0, 2.0, 7.0, 7.0, 7.0]


async def test_a_code_that_nobody_enters_expires(everything: Everything) -> None:
    app, device = await begin(everything)
    waiting = Waiting(everything.server)
    with pytest.raises(LoginEndedError):
        await app.finish_device(device, clock=waiting.clock, sleep=waiting.sleep)
    assert sum(waiting.waited) == pytest.approx(600, abs=5)
    with pytest.raises(LoginEndedError):  # to a program whose clock is late; this provider has forgotten the code
        await app.finish_device(device, clock=lambda: 0.0, sleep=waiting.sleep)


async def test_a_person_who_aborts_on_another_device_ends_the_login(everything: Everything) -> None:
    app, device = await begin(everything)
    complete = str(device.verification_uri_complete)
    waiting = Waiting(everything.server, {2: lambda: consents(complete, abort=True)})
    with pytest.raises(DeniedError) as caught:
        await app.finish_device(device, clock=waiting.clock, sleep=waiting.sleep)
    assert caught.value.denied


async def test_a_device_login_for_a_wrong_resource_or_by_a_wrong_client_does_not_begin(
    everything: Everything,
) -> None:
    app = await machine(everything, "device", None)
    with pytest.raises(TokenError, match="invalid_target"):
        await app.begin_device("notes", resource="https://another.example")
    with pytest.raises(TokenError, match="invalid_client"):
        await (await machine(everything, "nobody", None)).begin_device("notes")
    with pytest.raises(TokenError):
        await (await machine(everything)).begin_device("notes")


# --- pushed requests (RFC 9126) and proof of possession (RFC 9449) ---

REDIRECT = "http://127.0.0.1:8080/"


async def pushing(everything: Everything, **more: Any) -> OAuth2App:
    return await machine(everything, "pushing", None, **{"resource": None, "dpop": True, "require_par": True, **more})


async def sign_in(app: OAuth2App, scopes: str = "openid offline_access") -> OAuth2User:
    login = await app.push_login(REDIRECT, scopes, prompt="consent")
    kept = json.loads(json.dumps(login.to_dict()))
    return await app.finish_login(kept, await consents(login.url, until=REDIRECT))


async def test_a_pushed_sign_in_gives_tokens_of_one_key_through_refresh_and_restart(everything: Everything) -> None:
    app = await pushing(everything)
    user = await sign_in(app)
    asked = [(entry["endpoint"], entry["error"]) for entry in await everything.server.log(None)]
    pushed = "pushed_authorization_request"
    assert asked == [(pushed, "use_dpop_nonce"), (pushed, None), ("token", None)], "a nonce costs one request, once"
    assert user.token_type == "DPoP"
    assert (await app.userinfo(user))["sub"] == "alice"
    again = OAuth2App.from_json_obj(json.loads(json.dumps(app.to_dict())))
    fresh = await again.refresh(None, OAuth2User.from_json_obj(json.loads(json.dumps(user.to_dict()))))
    assert fresh.dpop_key == user.dpop_key
    assert (await again.userinfo(fresh))["sub"] == "alice"
    await again.revoke(fresh)
    with pytest.raises(GrantEndedError):
        await again.refresh(None, fresh)


async def test_a_token_with_another_key_or_none_is_refused(everything: Everything) -> None:
    app = await pushing(everything)
    user = await sign_in(app)
    stolen = OAuth2User.from_json_obj({**user.to_dict(), "dpop_key": (await sign_in(app)).to_dict()["dpop_key"]})
    with pytest.raises(ApiError) as caught:
        await app.userinfo(stolen)
    assert caught.value.status == 401
    with pytest.raises(GrantEndedError, match="invalid_grant"):
        await app.refresh(None, stolen)
    with pytest.raises(TokenError):
        await sign_in(await pushing(everything, dpop=False))


async def test_a_pushed_request_is_refused_when_pushed_or_ends_when_its_time_is_over(everything: Everything) -> None:
    app = await pushing(everything)
    with pytest.raises(TokenError):
        await app.push_login("http://127.0.0.1:8080/elsewhere", ["openid"])
    with pytest.raises(TokenError, match="invalid_client"):
        await (await machine(everything, "nobody", None)).push_login(REDIRECT, ["openid"])
    with pytest.raises(TokenError, match="invalid_target"):
        await app.push_login(REDIRECT, ["openid"], resource="https://another.example")
    login = await app.push_login(REDIRECT, ["openid"])
    assert login.expires_at is not None
    await everything.server.later(61)
    with pytest.raises(RedirectError):
        await app.finish_login(login, await consents(login.url, until=REDIRECT))


async def test_a_client_that_must_push_is_refused_without(everything: Everything) -> None:
    login = (await pushing(everything, require_par=False)).begin_login(REDIRECT, ["openid"])
    with pytest.raises(RedirectError):
        await (await pushing(everything)).finish_login(login, await consents(login.url, until=REDIRECT))
    with pytest.raises(ConfigError):
        (await pushing(everything)).begin_login(REDIRECT, ["openid"])


async def test_a_persons_token_is_for_the_api_and_stays_so_when_refreshed(everything: Everything) -> None:
    app = await pushing(everything, resource=API)
    user = await sign_in(app, "openid offline_access notes")
    fresh = await app.refresh(None, user)
    for token in (user.token, fresh.token):
        found = await app.introspect(token)
        assert (found.extra["aud"], found.scopes, found.subject) == (API, ["notes"], "alice")
        assert found.extra["cnf"].keys() == {"jkt"}
    with pytest.raises(TokenError, match="invalid_target"):
        await app.refresh(None, fresh, resource="https://another.example")


async def landed(app: OAuth2App) -> tuple[dict[str, Any], str]:
    """A login as a program keeps it, and the redirect with its code."""
    login = await app.push_login(REDIRECT, ["openid"])
    return login.to_dict(), await consents(login.url, until=REDIRECT)


async def test_a_code_that_is_used_twice_or_too_old_is_refused(everything: Everything) -> None:
    app = await pushing(everything)
    kept, redirect = await landed(app)
    await app.finish_login(kept, redirect)
    with pytest.raises(LoginEndedError):
        await app.finish_login(kept, redirect)
    with pytest.raises(TokenError, match="invalid_grant"):  # another process does not know that it was used
        await (await pushing(everything)).finish_login(kept, redirect)

    kept, redirect = await landed(app)
    await everything.server.later(61)
    with pytest.raises(TokenError) as caught:
        await app.finish_login(kept, redirect)
    assert (caught.value.error, caught.value.kind) == ("invalid_grant", "permanent")
