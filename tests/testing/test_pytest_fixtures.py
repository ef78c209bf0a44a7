"""The fixtures of the pytest plugin: a program of SlyAPI meets every fault on demand."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from SlyAPI import ApiError, OAuth2, OAuth2App, OAuth2User, WebAPI
from SlyAPI.errors import DeniedError, GrantEndedError, IdentityError
from SlyAPI.retry import Retry
from SlyAPI.testing import GRANT_TYPES, Clock, PracticeProvider


def seen(provider: PracticeProvider) -> list[tuple[str, str]]:
    """What the program sent, and how it ended."""
    return [(request.endpoint, request.outcome) for request in provider.log]


async def test_the_log_begins_with_the_program_itself(
    signed_client: WebAPI, practice_provider: PracticeProvider
) -> None:
    await signed_client.get_json("/forecast")
    assert seen(practice_provider) == [("api/forecast", "ok")]


async def test_the_app_and_the_user_make_an_auth_of_ones_own(
    practice_app: OAuth2App, granted_user: OAuth2User, practice_provider: PracticeProvider, tmp_path: Path
) -> None:
    for name, value in {"app": practice_app.to_dict(), "user": granted_user.to_dict()}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
        (tmp_path / f"{name}.json").chmod(0o600)
    practice_provider.revoke_access_tokens()
    async with WebAPI(OAuth2(tmp_path / "app.json", tmp_path / "user.json")) as api:
        api.base_url = practice_provider.api_url
        await api.get_json("/notes")
    assert OAuth2User.from_json_file(tmp_path / "user.json").token != granted_user.token


@pytest.mark.parametrize(
    "fault", [PracticeProvider.expire_access_tokens, PracticeProvider.revoke_access_tokens], ids=["expired", "revoked"]
)
async def test_a_refused_access_token_is_refreshed(
    signed_client: WebAPI, practice_provider: PracticeProvider, fault: Callable[[PracticeProvider], None]
) -> None:
    fault(practice_provider)
    await signed_client.get_json("/forecast")
    assert seen(practice_provider) == [("api/forecast", "invalid_token"), ("token", "ok"), ("api/forecast", "ok")]


@pytest.mark.parametrize(
    "fault",
    [
        PracticeProvider.spend_refresh_tokens,
        PracticeProvider.expire_refresh_tokens,
        PracticeProvider.end_all_grants,
    ],
    ids=["rotated reuse", "expired", "ended"],
)
async def test_an_ended_grant_is_one_error(
    signed_client: WebAPI, practice_provider: PracticeProvider, fault: Callable[[PracticeProvider], None]
) -> None:
    practice_provider.expire_access_tokens()
    fault(practice_provider)
    with pytest.raises(GrantEndedError):
        await signed_client.get_json("/forecast")


async def test_a_rate_limit_is_an_error_or_a_second_try(
    signed_client: WebAPI, practice_provider: PracticeProvider
) -> None:
    practice_provider.fail_next("api/forecast", 429, retry_after=0)
    with pytest.raises(ApiError) as caught:
        await signed_client.get_json("/forecast")
    assert (caught.value.status, caught.value.retry_after) == (429, 0)
    practice_provider.fail_next("api/forecast", 429, retry_after=0)
    async with WebAPI(signed_client.auth, retry=Retry(first=0.001)) as patient:
        patient.base_url = signed_client.base_url
        await patient.get_json("/forecast")


@pytest.mark.practice_provider(grant_types=GRANT_TYPES)
async def test_a_device_is_asked_to_slow_down(
    practice_app: OAuth2App, practice_provider: PracticeProvider, practice_clock: Clock
) -> None:
    began = practice_clock()
    device = await practice_app.begin_device(["notes"])
    practice_provider.fail_next("token", 400, error="slow_down", times=2)
    await practice_app.finish_device(device, clock=practice_clock, sleep=practice_clock.sleep)
    assert [outcome for _, outcome in seen(practice_provider)] == ["ok", "slow_down", "slow_down", "ok"]
    assert practice_clock() - began >= 5 + 10 + 15


@pytest.mark.practice_provider(openid=True)
async def test_keys_are_rotated_in_the_middle(
    practice_app: OAuth2App, granted_user: OAuth2User, practice_provider: PracticeProvider
) -> None:
    practice_provider.rotate_keys(keep_old=False)
    refreshed = await practice_app.refresh(None, granted_user)
    assert refreshed.identity is not None
    assert granted_user.identity is not None
    assert refreshed.identity.subject == granted_user.identity.subject
    assert ("jwks", "ok") in seen(practice_provider)
    practice_provider.id_token_changes = {"iss": "https://elsewhere.example"}
    with pytest.raises(IdentityError):
        await practice_app.refresh(None, refreshed)


@pytest.mark.practice_provider(dpop="required")
async def test_a_dpop_nonce_is_demanded(signed_client: WebAPI, practice_provider: PracticeProvider) -> None:
    practice_provider.demand_dpop_nonces("api")
    await signed_client.get_json("/forecast")
    assert seen(practice_provider) == [("api/forecast", "use_dpop_nonce"), ("api/forecast", "ok")]


@pytest.mark.practice_provider(consent="deny", require_par=True)
async def test_a_person_denies_though_another_had_granted(
    practice_app: OAuth2App, granted_user: OAuth2User, practice_provider: PracticeProvider
) -> None:
    assert granted_user.refresh_token
    login = await practice_app.push_login("http://127.0.0.1", ["notes"])
    async with aiohttp.ClientSession() as browser, browser.get(login.url, allow_redirects=False) as page:
        with pytest.raises(DeniedError):
            await practice_app.finish_login(login, page.headers["Location"])
    assert practice_provider.exchanges == 1


@pytest.fixture
def later(practice_clock: Clock) -> None:
    practice_clock.advance(100_000)


@pytest.mark.usefixtures("later")
@pytest.mark.practice_provider(openid=True, signing_algs=["ES256"])
async def test_a_grant_is_dated_by_the_clock_of_the_test(
    signed_client: WebAPI, practice_provider: PracticeProvider
) -> None:
    await signed_client.get_json("/forecast")
    assert seen(practice_provider) == [("api/forecast", "ok")]


@pytest.mark.practice_provider(redirect_uris=["https://weather.example/callback", "http://127.0.0.1"])
async def test_the_user_grants_to_the_redirect_uri_of_the_programs_own_client(
    practice_app: OAuth2App, practice_provider: PracticeProvider, signed_client: WebAPI
) -> None:
    practice_provider.add_client("another", None, ["http://127.0.0.1"])
    assert practice_app.redirect_uri == "https://weather.example/callback"
    await signed_client.get_json("/forecast")
