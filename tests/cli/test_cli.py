"""The command line without a terminal: what it prints where, and how it ends."""
from __future__ import annotations

import json
import re
import signal
import socket
import stat
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from SlyAPI import OAuth2User
from SlyAPI.cli.arguments import read_arguments
from SlyAPI.cli.main import main
from SlyAPI.cli.show_command import show_file
from SlyAPI.errors import ConfigError
from SlyAPI.flow.console import Console
from SlyAPI.oauth1 import OAuth1User
from tests.support.place import Place, failure, place_at, secrets_in

pytestmark = pytest.mark.slow

CODES = (*range(12), 130)
COMMANDS = ("scaffold", "grant", "show", "token", "call", "refresh", "revoke", "doctor", "demo")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place, None]:
    async with place_at(tmp_path) as place:
        yield place


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BROWSER", "false")
    return tmp_path


# help


def test_without_a_command_it_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out, err = capsys.readouterr()
    assert all(f"\n  {command} " in out for command in COMMANDS)
    assert err == ""


@pytest.mark.parametrize("argv", [["--help"], *([command, "--help"] for command in COMMANDS)], ids=lambda a: a[0])
def test_every_help_names_every_exit_code_and_fits_80_columns(
    argv: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(argv) == 0
    out = capsys.readouterr().out
    codes = out[out.index("exit codes") :]
    assert [int(code) for code in re.findall(r"\b\d+\b", codes)] == list(CODES)
    assert max(len(line) for line in out.splitlines()) <= 80


def test_every_flag_has_words_in_the_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    for command in COMMANDS:
        main([command, "--help"])
        listed = capsys.readouterr().out.partition("options:")[2].partition("exit codes")[0]
        for entry in re.split(r"\n  (?=\S)", listed.strip()):
            assert re.search(r"\S\s{2,}\S", entry), f"{command}: {entry}"


# usage


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["grnt"], "Did you mean grant?"),
        (["\x1b[31m" * 99], "Unknown command"),
        (["grant", "--prot", "0"], "--prot"),
        (["grant", "--port", "many"], "port"),
        (["grant", "--port", "65536"], "65535"),
        (["grant", "--port", "-1"], "--port"),
        (["grant", "--timeout", "0"], "above 0"),
        (["grant", "--timeout", "nan"], "above 0"),
        (["grant", "--client-auth", "magic"], "basic"),
        (["show"], "USER.json"),
        (["token", "app.json"], "USER.json"),
        (["show", "app.json", "hush.json"], "more words"),
        (["scaffold", "--secret", "hush"], "--secret"),
        (["scaffold", "x.json", "--blank", "--provider", "google"], "--blank"),
        (["scaffold", "oauth1", "x.json", "--provider", "google"], "--provider"),
        (["grant", "oauth1", "app.json", "user.json", "notes"], "scope"),
        (["oauth1-flow", "app.json", "--user", "user.json", "notes"], "scope"),
    ],
)
def test_wrong_usage_is_told_in_two_lines_with_the_way_to_the_help(
    argv: list[str], word: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert word in err
    assert "hush" not in err
    assert out == ""
    assert 1 <= len(err.strip().splitlines()) <= 2
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("value", ["hush", "it's hush", "hush (choose from 'a')", "hush\nhush"])
@pytest.mark.parametrize("command", [*COMMANDS, "completion", "new"])
def test_no_word_of_a_value_that_is_not_taken_is_repeated(
    command: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main([command, "--help"])
    flags = sorted({*re.findall(r"(?<!\S)--[a-z-]+", capsys.readouterr().out)} - {"--help"})
    said = []
    for argv in [[value], *([f"{flag}={value}"] for flag in flags), *([flag, value, value] for flag in flags)]:
        try:
            read_arguments([command, *argv])
        except ConfigError as error:
            said.append(str(error))
    assert "hush" not in " ".join(said)


@pytest.mark.parametrize(
    ("words", "near"),
    [(["grant", "--scopes", "a"], "--scope"), (["scaffold", "--secret", "a"], "--secret-file")],
    ids=["scope", "secret"],
)
def test_a_misspelt_flag_gets_a_suggestion(
    words: list[str], near: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert f"Did you mean {near}? " in capsys.readouterr().err


def test_a_word_too_many_gets_the_words_that_the_command_takes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "app.json", "user.json"]) == 2
    assert "python -m SlyAPI show [NAME | USER.json]" in capsys.readouterr().err


def test_flags_may_stand_anywhere_among_the_words(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "app.json").write_text('{"id": "a", "auth_uri": "https://a.example/a", "token_uri": "https://a.example/t"}')
    (here / "user.json").write_text("{}")
    assert main(["grant", "app.json", "--port", "0", "user.json", "--no-browser", "notes", "--timeout", "1", "x"]) == 9
    assert "user.json" in capsys.readouterr().err


@pytest.mark.posix
@pytest.mark.parametrize("name", ["--help", "-h", "--json", "--port=1", "-", "plain", "oauth1", "--"])
async def test_words_after_two_dashes_are_names_of_files(place: Place, name: str) -> None:
    place.user(name, expires_at="2099-01-02T03:04:05Z")
    ended = await place.runs("show", "--", name)
    assert (ended.code, ended.err) == (0, "")
    assert f"user file:   {name} (mode 0600)" in ended.out
    client = place.client(f"{name}-app")
    ended = await place.runs("token", "--json", "--", f"{name}-app", name)
    assert json.loads(ended.out)["token"] == place.reads(name)["token"]
    ended = await place.runs("scaffold", "--force", "--blank", "--", f"{name}-app")
    assert ended.code == 0
    assert set(place.reads(f"{name}-app").values()) == {""}
    assert client


async def test_words_after_two_dashes_are_the_files_and_scopes_of_a_grant(place: Place) -> None:
    place.client("--app")
    assert (await place.runs("grant", "--timeout", "20", "--", "--app", "--help", "notes")).code == 0
    assert place.reads("--help")["scopes"] == ["notes"]


@pytest.mark.parametrize(
    ("argv", "flag"), [(["grant", "--json"], "--app"), (["grant", "app.json"], "--user")], ids=["client", "user"]
)
def test_a_missing_value_without_a_terminal_names_its_flag(
    argv: list[str], flag: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    (here / "app.json").write_text('{"id": "a", "auth_uri": "https://a.example/a", "token_uri": "https://a.example/t"}')
    assert main(argv) == 2
    assert flag in capsys.readouterr().err


# each exit code


async def test_0_done(place: Place) -> None:
    assert (await place.grants()).code == 0


def test_1_internal_error(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object, name: str) -> OAuth1User:
        raise RuntimeError(f"the secret is {name}")

    (here / "hush").write_text('{"key": "k", "secret": "s"}')
    monkeypatch.setattr(OAuth1User, "from_json_obj", broken)
    assert main(["show", "./hush"]) == 1
    err = capsys.readouterr().err
    assert "RuntimeError" in err
    assert "SLYAPI_TRACEBACK=1" in err
    assert "hush" not in err
    monkeypatch.setenv("SLYAPI_TRACEBACK", "1")
    with pytest.raises(RuntimeError):
        main(["show", "./hush"])


async def test_2_usage(place: Place) -> None:
    failure(place, await place.runs("grant", "--nonsense"), 2, "--nonsense", "--help")


async def test_3_a_file_is_unusable(place: Place) -> None:
    ended = await place.runs("grant", "absent.json", "user.json")
    failure(place, ended, 3, "absent.json", "does not exist", "python -m SlyAPI scaffold")


async def test_4_denied(place: Place) -> None:
    place.provider.consent = "deny"
    failure(place, await place.grants(), 4, "access_denied", "user.json was not written", talk=True)


async def test_5_timed_out(place: Place) -> None:
    place.browser.follows = False
    failure(place, await place.grants("--timeout", "0.5"), 5, "0.5 s", "user.json was not written", talk=True)


async def test_6_the_token_endpoint_refused(place: Place) -> None:
    place.client(secret="not-the-secret")
    failure(place, await place.grants(), 6, "invalid_client", "user.json was not written", talk=True)


async def test_7_network(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    place.client(token_uri=f"http://127.0.0.1:{port}/token")
    failure(place, await place.grants(), 7, f"127.0.0.1:{port}", "user.json was not written", talk=True)


async def test_8_cannot_listen(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = failure(place, await place.grants("--port", port), 8, port, "--port", "--paste")
    assert "authorize?" not in said
    assert place.browser.opened == []


async def test_9_would_overwrite(place: Place) -> None:
    before = place.user()
    failure(place, await place.grants(), 9, "user.json", "--force", "--if-needed")
    assert place.reads("user.json") == before


async def test_130_ctrl_c(place: Place) -> None:
    place.browser.follows = False
    child = await place.slyapi("grant", "app.json", "user.json", *("notes",))
    await place.browser.asked()
    await child.says("Waiting")
    await child.presses_ctrl_c()
    ended = await child.ends()
    failure(place, ended, 130, "Stopped", "user.json was not written")
    assert ended.err.count("\n") == 1


# show, token, refresh


@pytest.mark.posix
async def test_show_tells_all_but_the_secrets(place: Place) -> None:
    place.user(expires_at="2099-01-02T03:04:05Z", requested_scopes=["notes", "weather.read"])
    ended = await place.runs("show", "user.json")
    assert (ended.code, ended.err) == (0, "")
    for word in ("mode 0600", "notes", "not granted: weather.read", "2099-01-02 03:04:05 UTC", "refreshable: yes"):
        assert word in ended.out
    assert not secrets_in(place, ended.out)
    assert place.provider.log == []


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_show_says_nothing_of_a_mode_where_the_system_has_none(
    place: Place, capsys: pytest.CaptureFixture[str], mode: int
) -> None:
    place.user()
    (place.folder / "user.json").chmod(mode)
    for words in ([], ["--json"]):
        args = read_arguments(["show", str(place.folder / "user.json"), *words])
        assert show_file(args, Console(), system="nt") == 0
    shown = capsys.readouterr()
    assert "mode 0" not in shown.out
    assert '"mode": null' in shown.out
    assert shown.err == ""


async def test_show_says_that_a_token_is_bound_and_shows_no_key(place: Place) -> None:
    key = {"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "d": "private-5EC9E7"}
    place.user(token_type="DPoP", dpop_key=key)
    ended = await place.runs("show", "user.json")
    assert "bound:" in ended.out
    assert "5EC9E7" not in ended.out
    assert json.loads((await place.runs("show", "user.json", "--json")).out)["bound"] == "DPoP"


@pytest.mark.posix
@pytest.mark.parametrize(
    "saved",
    [{"key": "k3y", "secret": "s3cret"}, {"oauth_token": "k3y", "oauth_token_secret": "s3cret", "screen_name": "me"}],
    ids=["ours", "a provider's"],
)
async def test_show_knows_a_user_file_of_oauth_1(place: Place, saved: dict[str, str]) -> None:
    (place.folder / "user.json").write_text(json.dumps(saved))
    (place.folder / "user.json").chmod(0o600)
    ended = await place.runs("show", "user.json")
    assert ended.code == 0
    assert "OAuth 1" in ended.out
    told = await place.runs("show", "--json", "user.json")
    assert json.loads(told.out) == {"user": "user.json", "kind": "oauth1", "mode": "0600"}
    assert "k3y" not in ended.out + ended.err + told.out
    assert "s3cret" not in ended.out + ended.err + told.out


async def test_show_says_what_is_wrong_with_a_user_file_of_oauth_1(place: Place) -> None:
    (place.folder / "user.json").write_text(json.dumps({"key": "k3y", "secret": 5}))
    failure(place, await place.runs("show", "user.json"), 3, "user.json", "secret is not a string")


async def test_show_of_a_machines_token_says_that_it_is_renewed(place: Place) -> None:
    place.user(refresh_token=None, grant_type="client_credentials")
    ended = await place.runs("show", "user.json")
    assert "refreshable: not needed" in ended.out


@pytest.mark.posix
async def test_show_as_json_is_one_object(place: Place) -> None:
    place.user(expires_at="2001-01-01T00:00:00Z", refresh_token=None)
    ended = await place.runs("show", "--json", "user.json")
    told: dict[str, Any] = json.loads(ended.out)
    assert told["scopes"] == ["notes"]
    assert told["refreshable"] is False
    assert told["mode"] == "0600"
    assert told["expires_at"] == "2001-01-01T00:00:00+00:00"
    assert not secrets_in(place, ended.out, ended.err)


@pytest.mark.posix
async def test_show_warns_of_a_file_that_others_may_read(place: Place) -> None:
    place.user(expires_at="2001-01-01T00:00:00Z")
    (place.folder / "user.json").chmod(0o644)
    ended = await place.runs("show", "user.json")
    assert "(expired)" in ended.out
    assert "chmod 600 user.json" in ended.err


async def test_token_prints_the_access_token_alone_and_refreshes_a_dead_one(place: Place) -> None:
    assert (await place.grants()).code == 0
    first = place.reads("user.json")
    ended = await place.runs("token", "app.json", "user.json")
    assert (ended.code, ended.out, ended.err) == (0, first["token"] + "\n", "")
    place.writes("user.json", first | {"expires_at": "2001-01-01T00:00:00Z"})
    ended = await place.runs("token", "app.json", "user.json")
    second = place.reads("user.json")
    assert ended.out == second["token"] + "\n"
    assert second["token"] != first["token"]
    assert second["refresh_token"] != first["refresh_token"]


@pytest.mark.posix
async def test_refresh_renews_a_token_that_is_still_good(place: Place) -> None:
    assert (await place.grants()).code == 0
    first = place.reads("user.json")
    ended = await place.runs("refresh", "app.json", "user.json", "--json")
    assert ended.code == 0
    assert place.reads("user.json")["token"] != first["token"]
    assert json.loads(ended.out)["refreshable"] is True
    assert not secrets_in(place, ended.out, ended.err)
    assert stat.S_IMODE((place.folder / "user.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("command", ["token", "refresh"])
async def test_a_grant_that_is_over_is_told_and_the_file_stays(place: Place, command: str) -> None:
    before = place.user(expires_at="2001-01-01T00:00:00Z")
    ended = await place.runs(command, "app.json", "user.json")
    failure(place, ended, 6, "invalid_grant", "python -m SlyAPI grant", "user.json was not changed")
    assert ended.out == ""
    assert place.reads("user.json") == before


async def test_a_user_without_a_refresh_token_cannot_be_refreshed(place: Place) -> None:
    place.user(refresh_token=None)
    ended = await place.runs("refresh", "app.json", "user.json")
    failure(place, ended, 3, "no refresh token", "python -m SlyAPI grant", "user.json was not changed")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("show", "app.json"), ("app.json", "a client file")),
        (("show", "absent.json"), ("absent.json", "does not exist", "grant")),
        (("token", "user.json", "app.json"), ("user.json", "a user file", "client file first")),
        (("grant", "oauth1.json", "new.json"), ("OAuth 1 client file", "python -m SlyAPI grant oauth1")),
        (("refresh", "app.json", "."), ("folder",)),
    ],
)
async def test_a_file_of_another_kind_is_named_for_what_it_is(
    place: Place, command: tuple[str, ...], words: tuple[str, ...]
) -> None:
    place.user(expires_at="2099-01-01T00:00:00Z")
    keys = ("key", "secret", "request_uri", "authorize_uri", "access_uri")
    place.writes("oauth1.json", dict.fromkeys(keys, "its-own"))
    failure(place, await place.runs(*command), 3, *words)


# streams


async def test_json_of_a_grant_is_one_object_and_nothing_else_is_on_stdout(place: Place) -> None:
    ended = await place.grants("--json")
    told = json.loads(ended.out)
    assert told["user"] == "user.json"
    assert told["scopes"] == ["weather.read", "notes"]
    assert told["refreshable"] is True
    assert not secrets_in(place, ended.out, ended.err)


async def test_a_user_on_stdout_is_written_nowhere_else(place: Place) -> None:
    ended = await place.runs("grant", "--app", "app.json", "--user", "-", "--scope", "notes")
    assert ended.code == 0
    assert OAuth2User.from_json_obj(json.loads(ended.out)).scopes == ["notes"]
    assert place.files() == {"app.json"}
    assert json.loads(ended.out)["token"] not in ended.err


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full"])
async def test_a_grant_works_whatever_its_streams_are(place: Place, streams: str) -> None:
    ended = await place.shell(f"slyapi grant app.json user.json notes {streams}")
    assert (ended.code, ended.out) == (0, "")
    assert place.reads("user.json")["scopes"] == ["notes"]
    assert "Exception" not in ended.err


@pytest.mark.parametrize("stdout", [">&-", ">/dev/full"])
@pytest.mark.parametrize("command", ["show user.json", "token app.json user.json", "show user.json --json"])
async def test_a_result_that_cannot_be_written_is_a_failure(place: Place, stdout: str, command: str) -> None:
    place.user()
    failure(place, await place.shell(f"slyapi {command} {stdout}"), 3, "stdout")


async def test_a_grant_to_a_closed_stdout_is_refused_before_the_browser_opens(place: Place) -> None:
    failure(place, await place.shell("slyapi grant app.json --user - notes >&-"), 3, "stdout")
    assert place.browser.opened == []


async def test_help_for_a_reader_that_went_away_is_no_error(place: Place) -> None:
    ended = await place.shell("(slyapi grant --help; echo $? >&2) | head -n 1")
    assert ended.err.strip() in ("0", "")
    ended = await place.shell("slyapi --help >/dev/full")
    assert "Exception" not in ended.err


async def test_a_terminal_that_knows_ascii_only_shows_a_strangers_words_escaped(place: Place) -> None:
    place.env |= {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    place.user("Üser.json")
    ended = await place.runs("show", "Üser.json")
    assert (ended.code, ended.err) == (0, "")
    assert "user file" in ended.out
    failure(place, await place.runs("show", "fehlt-ü.json"), 3, "does not exist")


async def test_without_a_home_nothing_is_missed(place: Place) -> None:
    del place.env["HOME"]
    assert (await place.grants()).code == 0
    assert place.files() == {"app.json", "user.json"}


async def test_a_signal_that_is_ignored_stays_ignored(place: Place) -> None:
    before = signal.getsignal(signal.SIGINT)
    assert main(["show", "absent.json"]) == 3
    assert signal.getsignal(signal.SIGINT) is before


# the older forms


@pytest.mark.parametrize(
    "form", [("grant", "oauth2", "app.json", "user.json", "notes"), ("oauth2-flow", "app.json", "user.json")]
)
async def test_the_older_forms_of_grant_work(place: Place, form: tuple[str, ...]) -> None:
    place.client(scopes=["notes"])
    assert (await place.runs(*form)).code == 0
    assert place.reads("user.json")["scopes"] == ["notes"]


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("oauth2", ["id", "secret", "auth_uri", "token_uri"]),
        ("oauth1", ["key", "secret", "request_uri", "authorize_uri", "access_uri"]),
    ],
)
def test_the_older_forms_of_scaffold_work(kind: str, keys: list[str], here: Path) -> None:
    assert main(["scaffold", kind, "file.json"]) == 0
    assert json.loads((here / "file.json").read_text()) == dict.fromkeys(keys, "")


async def test_revoke_ends_the_grant_and_deletes_the_user_file(place: Place) -> None:
    place.client(revoke_uri=place.provider.revoke_url)
    await place.grants()
    ended = await place.runs("revoke", "app.json", "user.json", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out) == {"user": "user.json", "revoked": True}
    assert "The grant has ended" in ended.err
    assert not (place.folder / "user.json").exists()
    assert [seen.outcome for seen in place.provider.log if seen.endpoint == "revoke"] == ["ok"]


async def test_a_refused_revocation_keeps_the_user_file(place: Place) -> None:
    place.client(revoke_uri=place.provider.revoke_url, secret="another-secret")
    before = place.user()
    ended = await place.runs("revoke", "app.json", "user.json")
    assert (ended.code, ended.out) == (6, "")
    assert "user.json was not changed." in ended.err
    assert place.reads("user.json") == before


async def test_revoke_at_a_provider_that_names_no_endpoint_says_what_to_do(place: Place) -> None:
    place.user()
    ended = await place.runs("revoke", "app.json", "user.json")
    assert ended.code == 2
    assert "revoke_uri" in ended.err
    assert (place.folder / "user.json").exists()


@pytest.mark.posix
async def test_revoke_of_a_linked_user_file_leaves_no_tokens_behind_the_link(place: Place) -> None:
    place.client(revoke_uri=place.provider.revoke_url)
    await place.grants()
    (place.folder / "user.json").rename(place.folder / "real.json")
    (place.folder / "user.json").symlink_to("real.json")
    ended = await place.runs("revoke", "app.json", "user.json")
    assert ended.code == 0, ended.err
    assert place.files() & {"user.json", "real.json"} == set()


async def test_if_needed_without_scopes_asks_anew_for_those_of_before(place: Place) -> None:
    await place.grants()
    place.provider.end_all_grants()
    before = place.reads("user.json")
    place.writes("user.json", before | {"expires_at": "2001-01-01T00:00:00Z"})
    ended = await place.runs("grant", "app.json", "user.json", "--if-needed")
    assert ended.code == 0, ended.err
    assert place.reads("user.json")["scopes"] == before["scopes"]


def test_a_wrong_param_is_not_repeated(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grant", "app.json", "user.json", "--param", "s3cr3tvalue"]) in (2, 3)
    assert "s3cr3tvalue" not in capsys.readouterr().err
