"""Grants without a browser here: a code for another device, and a program's own token."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from SlyAPI.cli.main import main
from SlyAPI.flow.device import qr_lines, time_left
from SlyAPI.stores import store_at
from SlyAPI.testing import GRANT_TYPES
from tests.support.place import Place, place_at, secrets_in

pytestmark = pytest.mark.slow


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place, None]:
    """A place at a provider of devices and machines, without a browser."""
    settings: dict[str, Any] = {"grant_types": GRANT_TYPES, "device_interval": 0.1, "device_code_lifetime": 60.0}
    async with place_at(tmp_path, **settings) as place:
        del place.env["BROWSER"]
        place.client(device_uri=f"{place.provider.origin}/device_authorization", revoke_uri=place.provider.revoke_url)
        yield place


def endpoints(place: Place) -> set[str]:
    return {seen.endpoint for seen in place.provider.log}


@pytest.mark.parametrize("flags", [["--device"], []], ids=["by flag", "by itself"])
async def test_a_code_is_shown_and_the_user_file_written_after_the_consent(place: Place, flags: list[str]) -> None:
    ended = await place.grants(*flags, "--json")
    assert ended.code == 0, ended
    (device,) = place.provider.devices.values()
    assert device.user_code in ended.err
    assert f"{place.provider.origin}/device" in ended.err
    assert json.loads(ended.out)["scopes"] == ["weather.read", "notes"]
    assert place.reads("user.json")["refresh_token"]
    assert not secrets_in(place, ended.err)


@pytest.mark.parametrize("url", ["sqlite:users.db", "file:users"])
@pytest.mark.parametrize("way", ["--device", "--client-credentials"])
async def test_what_was_granted_is_in_the_store(place: Place, way: str, url: str) -> None:
    ended = await place.runs("grant", "app.json", "notes", way, "--store", url, "--name", "alice")
    assert ended.code == 0, ended
    user = await store_at(f"{url.partition(':')[0]}:{place.folder / url.partition(':')[2]}").user("alice").load()
    assert user.scopes == ["notes"]
    taken = await place.runs("grant", "app.json", "notes", way, "--store", url, "--name", "alice")
    assert taken.code == 9, taken


async def test_a_person_who_declines_ends_it_with_4_and_a_code_that_ran_out_with_5(place: Place) -> None:
    place.provider.consent = "deny"
    ended = await place.grants("--device")
    assert (ended.code, "user.json" in place.files()) == (4, False)
    place.provider.consent, place.provider.device_code_lifetime = "ask", 1.0
    ended = await place.grants("--device")
    assert (ended.code, "user.json" in place.files()) == (5, False)
    place.provider.device_code_lifetime = 60.0
    assert (await place.grants("--device", "--timeout", "0.5")).code == 5


async def test_ctrl_c_ends_it_with_130(place: Place) -> None:
    place.provider.consent = "ask"
    child = await place.slyapi("grant", "app.json", "user.json", "notes", "--device")
    await child.says("Waiting for your consent")
    await child.presses_ctrl_c()
    ended = await child.ends()
    assert (ended.code, "user.json" in place.files()) == (130, False)


@pytest.mark.parametrize("words", [["oauth2"], []], ids=["the older command", "a redirect is spoken of"])
async def test_a_browsers_grant_stays_one_where_it_is_meant(place: Place, words: list[str]) -> None:
    more = [] if words else ["--no-browser"]
    ended = await place.runs("grant", *words, "app.json", "user.json", "notes", "--timeout", "0.5", *more)
    assert ended.code == 5
    assert place.provider.authorize_url in ended.err
    assert "device_authorization" not in endpoints(place)


async def test_a_client_that_may_use_no_device_gets_the_link(place: Place) -> None:
    (client,) = place.provider.ledger.clients.values()
    client.metadata["grant_types"] = ["authorization_code", "refresh_token"]  # type: ignore[index]
    ended = await place.grants("--timeout", "0.5")
    assert ended.code == 5
    assert place.provider.authorize_url in ended.err
    assert (await place.grants("--device")).code == 6


@pytest.mark.parametrize(
    "flags",
    [
        ["--device", "--paste"],
        ["--device", "--port", "8080"],
        ["--device", "--client-credentials"],
        ["--client-credentials", "--redirect-uri", "http://127.0.0.1"],
        ["oauth1", "--device"],
        ["oauth1", "--token-param", "tenant=one"],
        ["--resource", "https://api.example", "--token-param", "tenant=one"],
    ],
    ids=" ".join,
)
def test_what_excludes_each_other_is_a_usage_error(flags: list[str]) -> None:
    assert main(["grant", *flags, "app.json", "user.json"]) == 2


async def test_a_provider_without_device_codes_leaves_the_pasted_address(place: Place) -> None:
    place.client(device_uri=None)
    ended = await place.grants("--device")
    assert ended.code == 2
    assert "--paste" in ended.err


@pytest.mark.posix
async def test_a_machines_token_is_treated_as_any_other(place: Place) -> None:
    words = ("--client-credentials", "app.json", "machine.json", "notes", "--token-param", "tenant=one")
    ended = await place.runs("grant", *words)
    assert "refresh token" not in ended.err
    assert ended.code == 0, ended
    assert (place.folder / "machine.json").stat().st_mode & 0o777 == 0o600
    assert "notes" in (await place.runs("show", "machine.json")).out
    first = (await place.runs("token", "app.json", "machine.json")).out.strip()
    assert first == place.reads("machine.json")["token"]
    assert (await place.runs("refresh", "app.json", "machine.json")).code == 0
    second = place.reads("machine.json")["token"]
    expired = {**place.reads("machine.json"), "expires_at": "2020-01-01T00:00:00Z"}
    place.writes("machine.json", expired)
    (place.folder / "machine.json").chmod(0o600)
    third = (await place.runs("token", "app.json", "machine.json")).out.strip()
    assert len({first, second, third}) == 3
    assert [seen.parameters["tenant"] for seen in place.provider.log if seen.endpoint == "token"] == ["one"] * 3
    assert (await place.runs("revoke", "app.json", "machine.json")).code == 0
    assert "machine.json" not in place.files()


async def test_the_demos_second_act_shows_a_device_and_a_machine(place: Place) -> None:
    ended = await place.runs("demo", "--device", "--folder", "demo")
    assert ended.code == 0, ended
    assert {"device-user.json", "machine.json"} <= {path.name for path in (place.folder / "demo").iterdir()}
    for words in ("grant --device", "grant --client-credentials", "a signed call"):
        assert words in ended.err
    assert "scopes:      weather.read" in (await place.runs("show", "demo/machine.json")).out


async def test_a_machine_that_is_refused_writes_nothing(place: Place) -> None:
    ended = await place.runs("grant", "--client-credentials", "app.json", "machine.json", "unknown")
    assert (ended.code, "machine.json" in place.files()) == (6, False)
    assert "invalid_scope" in ended.err


# --- what is shown ---


@pytest.mark.parametrize(("seconds", "shown"), [(600, "10:00 min"), (61.2, "1:01 min"), (59.4, "59 s"), (-1, "0 s")])
def test_the_time_that_is_left_is_shown_as_a_clock_does(seconds: float, shown: str) -> None:
    assert time_left(seconds) == shown


def test_a_qr_code_is_the_one_of_the_address() -> None:
    segno = pytest.importorskip("segno")
    address = "https://p.example/device?user_code=WDJB-MJHT"
    lines = qr_lines(address)
    rows = [[half == "█" or half == there for half in line] for line in lines for there in "▀▄"]
    expected = [
        [bool(dark) for dark in row] for row in segno.make(address, error="l", micro=False).matrix_iter(border=2)
    ]
    assert rows[: len(expected)] == expected


@pytest.mark.parametrize("length", [0, 1, 2000, 3000, 100_000])
def test_an_address_of_any_length_is_a_qr_code_or_none(length: int) -> None:
    lines = qr_lines(f"https://p.example/{'a' * length}")
    assert bool(lines) is (length < 2900 and find_spec("segno") is not None)
