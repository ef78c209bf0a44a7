"""scaffold: what is written, from which source, and what is never written over."""
from __future__ import annotations

import json
import shlex
import stat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI import OAuth2App
from SlyAPI.cli.main import main
from SlyAPI.oauth2.client.providers import PROVIDERS
from SlyAPI.oauth2.messages.device import GRANT_TYPE as DEVICE_GRANT
from SlyAPI.testing import GRANT_TYPES, PracticeProvider
from SlyAPI.web.next_steps import PROGRAM, quoted
from tests.conftest import Serve
from tests.support.place import Place, failure

TEMPLATE = {"id": "", "secret": "", "auth_uri": "", "token_uri": ""}
FILLED = {"id": "a", "secret": "b", "auth_uri": "https://a.example/a", "token_uri": "https://a.example/t"}
GOOGLE = {
    "client_id": "12.apps.googleusercontent.com",
    "project_id": "weather",
    "auth_uri": "https://accounts.google.com/o/oauth2/auth",
    "token_uri": "https://oauth2.googleapis.com/token",
    "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
    "client_secret": "GOCSPX-secret",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", None)
    return tmp_path


def written(here: Path, name: str = "app.json") -> dict[str, Any]:
    told: dict[str, Any] = json.loads((here / name).read_text())
    return told


@pytest.mark.posix
@pytest.mark.parametrize("argv", [["app.json", "--blank"], ["--blank"], ["app.json"], ["oauth2", "app.json"]])
def test_the_template_is_exactly_four_empty_values_for_the_owner_alone(here: Path, argv: list[str]) -> None:
    assert main(["scaffold", *argv]) == 0
    assert list(written(here).items()) == list(TEMPLATE.items())
    assert stat.S_IMODE((here / "app.json").stat().st_mode) == 0o600


def test_values_given_one_by_one_and_the_secret_by_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "secret").write_text("  hush-hush\n\nmore\n")
    uris = ["--auth-uri", "https://a.example/a?x=1", "--token-uri", "https://a.example/t"]
    assert main(["scaffold", "app.json", "--id", "me", "--secret-file", "secret", *uris, "--json"]) == 0
    assert written(here) == {
        "id": "me",
        "secret": "hush-hush",
        "auth_uri": "https://a.example/a?x=1",
        "token_uri": "https://a.example/t",
    }
    out, err = capsys.readouterr()
    assert json.loads(out) == {"app": "app.json", "missing": []}
    assert "hush" not in out + err
    assert f"    {PROGRAM} grant app.json user.json\n" in err


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["app.json"], "grant app.json user.json"),
        (["github.json"], "grant github.json github-user.json"),
        (["my clients/git hub.json"], quoted("grant", "my clients/git hub.json", "my clients/git hub-user.json")),
        (["oauth1", "photos.json"], "grant oauth1 photos.json photos-user.json"),
        (["new.json", "--from", "oidc.json"], "grant new.json new-user.json openid"),
    ],
    ids=lambda words: words[-1] if isinstance(words, list) else None,
)
def test_the_next_step_is_a_command_that_names_every_file(
    here: Path, words: list[str], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "my clients").mkdir()
    endpoints = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint")
    uris = {name: f"https://a.example/{name}" for name in endpoints}
    (here / "oidc.json").write_text(json.dumps({"client_id": "me", **uris}))
    assert main(["scaffold", *words]) == 0
    assert f"    {PROGRAM} {command}\n" in capsys.readouterr().err


def test_a_client_without_a_consent_page_is_ready_for_a_token_of_the_program_itself(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "secret").write_text("s")
    assert main(["scaffold", "--token-uri", "https://a.example/t", "--id", "me", "--secret-file", "secret"]) == 0
    assert f"    {PROGRAM} grant --client-credentials app.json machine.json\n" in capsys.readouterr().err


def test_an_issuer_without_https_gets_the_right_spelling(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scaffold", "--issuer", "login.example.com"]) == 2
    assert "https://login.example.com" in capsys.readouterr().err
    assert not (here / "app.json").exists()


def test_further_keys_come_only_when_given(here: Path) -> None:
    more = ["--redirect-uri", "http://127.0.0.1:9/cb", "--client-auth", "basic"]
    assert main(["scaffold", *more]) == 0
    assert written(here) == TEMPLATE | {"redirect_uri": "http://127.0.0.1:9/cb", "client_auth": "basic"}
    assert main(["scaffold", "--client-auth", "auto"]) == 0
    assert written(here) == TEMPLATE | {"redirect_uri": "http://127.0.0.1:9/cb"}


URIS = st.sampled_from(["https://a.example/x", "https://b.example/x"])
VALUES = st.fixed_dictionaries({}, optional={"id": st.sampled_from("ab"), "auth-uri": URIS, "token-uri": URIS})


@given(VALUES, VALUES, st.booleans())
def test_scaffold_adds_to_a_client_file_and_replaces_no_value_without_force(
    first: dict[str, str], then: dict[str, str], force: bool
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "app.json"

        def scaffold(values: dict[str, str], *more: str) -> tuple[int, dict[str, str]]:
            flags = [word for name, value in values.items() for word in (f"--{name}", value)]
            code = main(["scaffold", str(path), *flags, *more])
            content: dict[str, str] = json.loads(path.read_text())
            return code, {name.replace("_", "-"): value for name, value in content.items() if value}

        scaffold(first)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"note": "mine"}))
        clash = any(first[name] != then[name] for name in first.keys() & then.keys())
        code, after = scaffold(then, *(["--force"] if force else []))
    if clash and not force and "id" in first:  # without one it is a template
        assert (code, after) == (9, first | {"note": "mine"})
    elif first.get("token-uri", then.get("token-uri")) == then.get("token-uri", first.get("token-uri")):
        assert (code, after) == (0, first | then | {"note": "mine"})
    else:  # a client of another server
        assert (code, after) == (0, then)


@given(st.booleans(), st.booleans())
def test_the_secret_of_another_id_is_not_kept(same: bool, machine: bool) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "app.json"
        path.write_text(json.dumps({"id": "a", "secret": "s", "token_uri": "https://a.example/t"}))
        flags = ["--machine"] if machine else []
        assert main(["scaffold", str(path), "--id", "a" if same else "b", "--force", *flags]) == 0
        assert json.loads(path.read_text())["secret"] == ("s" if same else "")
        assert machine != ("auth_uri" in json.loads(path.read_text()))


def test_the_next_step_of_a_client_without_users_asks_nobody(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scaffold", "--machine", "--id", "a", "--token-uri", "https://a.example/t"]) == 0
    said = capsys.readouterr().err
    assert "grant --client-credentials app.json machine.json" in said
    assert "grant app.json" not in said


@pytest.mark.parametrize("name", PROVIDERS)
def test_each_provider_fills_in_its_uris_alone_by_which_the_rest_is_known(here: Path, name: str) -> None:
    provider = PROVIDERS[name]
    (here / "secret").write_text("s")
    assert main(["scaffold", "--provider", name.upper(), "--id", "me", "--secret-file", "secret"]) == 0
    told = written(here)
    assert told["auth_uri"] == provider.auth_uri
    assert told["token_uri"] == provider.token_uri
    assert told.keys() == TEMPLATE.keys()
    app = OAuth2App.from_json_file(here / "app.json")
    assert app.provider is provider
    url = app.auth_url_with_pkce("http://127.0.0.1:1/", "state", [])
    assert bool(url.verifier) is provider.pkce
    asked = dict(parse_qsl(urlsplit(url.url).query))
    assert asked.items() >= provider.auth_params.items()
    assert set(asked.get("scope", "").replace(",", " ").split()) >= set(provider.scopes)


@pytest.mark.parametrize(
    "flags",
    [
        ["--from", "source.json", "--provider", "google"],
        ["--issuer", "https://id.example", "--provider", "google"],
        ["--from", "source.json", "--issuer", "https://id.example"],
    ],
    ids=lambda flags: f"{flags[0]} {flags[2]}",
)
def test_two_sources_of_the_uris_are_told_to_be_one_too_many(
    here: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scaffold", *flags]) == 2
    err = capsys.readouterr().err
    assert flags[0] in err
    assert flags[2] in err
    assert not (here / "app.json").exists()


@pytest.mark.parametrize(("name", "near"), [("gogle", "google"), ("git-hub", "github"), ("Discrod", "discord")])
def test_an_unknown_provider_gets_the_nearest_suggested(
    here: Path, name: str, near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scaffold", "--provider", name]) == 2
    err = capsys.readouterr().err
    assert f"Did you mean {near}?" in err
    assert "--issuer" in err
    assert not (here / "app.json").exists()


@pytest.mark.parametrize("flag", ["--auth-uri", "--token-uri"])
@pytest.mark.parametrize("uri", ["file:///etc/passwd", "javascript:alert(1)", "--flag", "https://a b", "no uri"])
def test_a_uri_that_no_browser_should_see_is_refused(
    here: Path, flag: str, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scaffold", f"{flag}={uri}"]) == 2
    assert flag.strip("-").replace("-", "_") in capsys.readouterr().err
    assert not (here / "app.json").exists()


@pytest.mark.parametrize(
    "flags",
    [
        *(["--redirect-uri", "callback"], ["--redirect-uri", "http://localhost:99999"], ["--redirect-uri", "a://b#c"]),
        *(["--auth-uri", "http://a.example"], ["--token-uri", "http://a.example"], ["--id", "a\nb"]),
        ["--secret-file", "secret"],
    ],
    ids=" ".join,
)
def test_what_no_command_could_use_is_not_written(here: Path, flags: list[str]) -> None:
    (here / "secret").write_text("a\x1bb\n")
    assert main(["scaffold", *flags]) == 2
    assert not (here / "app.json").exists()


# conversion


@pytest.mark.parametrize(
    ("kind", "redirect_uris", "redirect_uri"),
    [
        ("installed", ["http://localhost"], "http://127.0.0.1:0"),
        ("web", ["https://weather.example/cb", "http://localhost:9/cb"], "http://localhost:9/cb"),
        ("web", ["https://weather.example/cb"], None),
    ],
)
def test_a_google_download_is_converted(
    here: Path, kind: str, redirect_uris: list[str], redirect_uri: str | None
) -> None:
    (here / "google.json").write_text(json.dumps({kind: GOOGLE | {"redirect_uris": redirect_uris}}))
    assert main(["scaffold", "app.json", "--from", "google.json"]) == 0
    assert written(here) == {
        "id": GOOGLE["client_id"],
        "secret": GOOGLE["client_secret"],
        "auth_uri": GOOGLE["auth_uri"],
        "token_uri": GOOGLE["token_uri"],
    } | ({"redirect_uri": redirect_uri} if redirect_uri else {})


def test_a_registration_of_rfc_7591_is_converted_with_how_it_authenticates(here: Path) -> None:
    registered = {
        "client_id": "me",
        "client_secret": "hush",
        "authorization_endpoint": "https://a.example/a",
        "token_endpoint": "https://a.example/t",
        "token_endpoint_auth_method": "client_secret_basic",
        "client_name": "Weather",
    }
    (here / "registered.json").write_text(json.dumps(registered))
    assert main(["scaffold", "app.json", "--from", "registered.json"]) == 0
    uris = {"auth_uri": "https://a.example/a", "token_uri": "https://a.example/t"}
    assert written(here) == {"id": "me", "secret": "hush", "client_auth": "basic"} | uris


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({"type": "service_account", "private_key": "hush"}, "service-account"),
        ({"token": "hush", "refresh_token": "hush", "expires_at": None}, "user file"),
        ("{", "half"),
        ("", "empty"),
        ([1], "not"),
    ],
)
def test_a_source_that_is_no_client_is_named_for_what_it_is(
    here: Path, content: Any, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "source.json").write_text(content if isinstance(content, str) else json.dumps(content))
    assert main(["scaffold", "app.json", "--from", "source.json"]) == 3
    out, err = capsys.readouterr()
    assert word in err
    assert "hush" not in out + err
    assert not (here / "app.json").exists()


# the issuer


def metadata(issuer: str, **more: object) -> dict[str, object]:
    return {"issuer": issuer, "authorization_endpoint": f"{issuer}/a", "token_endpoint": f"{issuer}/t", **more}


@pytest.mark.parametrize(
    "place_of_it",
    [
        "/.well-known/oauth-authorization-server/tenant",
        "/tenant/.well-known/openid-configuration",
        "/.well-known/openid-configuration/tenant",
    ],
)
async def test_an_issuer_is_found_at_each_known_place(place: Place, serve: Serve, place_of_it: str) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path != place_of_it:
            return web.Response(status=404)
        methods = {"token_endpoint_auth_methods_supported": ["client_secret_basic"]}
        return web.json_response(metadata(f"{server.origin}/tenant", **methods))

    server = await serve(handler)
    ended = await place.runs("scaffold", "new.json", "--issuer", f"{server.origin}/tenant", "--id", "me")
    assert ended.code == 0, ended
    told = place.reads("new.json")
    assert told["auth_uri"] == f"{server.origin}/tenant/a"
    assert told["token_uri"] == f"{server.origin}/tenant/t"
    assert told["client_auth"] == "basic"
    assert told["issuer"] == f"{server.origin}/tenant"


async def test_the_practice_provider_is_found_by_its_issuer(place: Place) -> None:
    ended = await place.runs("scaffold", "new.json", "--issuer", place.provider.origin)
    assert ended.code == 0
    assert place.reads("new.json")["iss_in_redirect"] is True
    assert "Fill in id, secret" in ended.err


async def test_a_client_is_registered_with_its_issuer(place: Place) -> None:
    provider = PracticeProvider(registration=True, initial_access_token="initial-5EC9E7")
    async with provider.running() as origin:
        words = ("--issuer", origin, "--register", "--client-name", "Weather")
        refused = await place.runs("scaffold", "new.json", *words)
        assert (refused.code, "new.json" in place.files()) == (6, False)
        ended = await place.runs("scaffold", "new.json", *words, "--initial-token-file", "-", lines=("initial-5EC9E7",))
    assert ended.code == 0, ended
    client = place.reads("new.json")
    registered = provider.ledger.clients[client["id"]]
    assert (registered.name, registered.redirect_uris) == ("Weather", (client["redirect_uri"],))
    assert client["registration_access_token"]
    assert client["registration_access_token"] not in ended.out + ended.err


async def test_a_registered_client_may_be_granted_on_another_device(place: Place) -> None:
    provider = PracticeProvider(registration=True, grant_types=GRANT_TYPES, consent="allow", device_interval=0.1)
    async with provider.running() as origin:
        ended = await place.runs("scaffold", "new.json", "--issuer", origin, "--register")
        assert ended.code == 0, ended
        granted = await place.runs("grant", "--device", "new.json", "user.json", "notes")
        assert granted.code == 0, granted
    assert [seen.endpoint for seen in provider.log if seen.endpoint == "device_authorization"]


async def test_a_server_that_registers_no_clients_for_devices_gets_one_for_browsers(place: Place, serve: Serve) -> None:
    asked: list[list[str]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/register":
            sent = await request.json()
            asked.append(sent["grant_types"])
            if DEVICE_GRANT in sent["grant_types"]:
                return web.json_response({"error": "invalid_client_metadata"}, status=400)
            return web.json_response({**sent, "client_id": "registered"}, status=201)
        if request.path != "/.well-known/oauth-authorization-server":
            return web.Response(status=404)
        more = {"registration_endpoint": f"{server.origin}/register"}
        return web.json_response(metadata(server.origin, **more, device_authorization_endpoint=f"{server.origin}/d"))

    server = await serve(handler)
    ended = await place.runs("scaffold", "new.json", "--issuer", server.origin, "--register")
    assert ended.code == 0, ended
    usual = ["authorization_code", "refresh_token"]
    assert asked == [[*usual, DEVICE_GRANT], usual]
    assert place.reads("new.json")["id"] == "registered"
    assert "device_uri" not in place.reads("new.json")


@pytest.mark.parametrize(
    "words",
    [
        ["--register"],
        ["--client-name", "Weather"],
        ["--issuer", "https://p.example", "--register", "--id", "me"],
        ["--issuer", "https://p.example", "--initial-token-file", "-"],
    ],
)
def test_a_registration_that_cannot_be_meant_is_refused(here: Path, words: list[str]) -> None:
    assert main(["scaffold", *words]) == 2
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "code", "word"),
    [
        (404, 2, "--auth-uri"),
        ({"issuer": "https://other.example", "authorization_endpoint": "x", "token_endpoint": "x"}, 6, "other.example"),
        ({}, 6, "metadata"),
        ("<html>", 2, "--auth-uri"),
    ],
)
async def test_metadata_that_cannot_be_used_write_nothing(
    place: Place, serve: Serve, answer: Any, code: int, word: str
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if isinstance(answer, int):
            return web.Response(status=answer)
        return web.json_response(answer) if isinstance(answer, dict) else web.Response(text=answer)

    server = await serve(handler)
    ended = await place.runs("scaffold", "new.json", "--issuer", server.origin)
    failure(place, ended, code, word, "new.json was not written")
    assert "new.json" not in place.files()


@pytest.mark.parametrize("issuer", ["http://a.example", "a.example", "https://a.example/?x=1", "file:///etc"])
def test_an_issuer_that_is_no_https_address_is_refused(here: Path, issuer: str) -> None:
    assert main(["scaffold", "--issuer", issuer]) == 2
    assert list(here.iterdir()) == []


PUBLIC = {"token_endpoint_auth_methods_supported": ["none"]}


async def test_an_issuer_of_public_clients_leaves_no_secret_to_fill_in(place: Place, serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response(metadata(server.origin, **PUBLIC))

    server = await serve(handler)
    ended = await place.runs("scaffold", "new.json", "--issuer", server.origin, "--id", "me", "--json")
    assert (ended.code, json.loads(ended.out)["missing"]) == (0, [])
    assert place.reads("new.json")["client_auth"] == "none"
    ended = await place.runs("scaffold", "other.json", "--client-auth", "none", "--json")
    assert json.loads(ended.out)["missing"] == ["id", "auth_uri", "token_uri"]
    ended = await place.runs("scaffold", lines=("bare.json", server.origin, "me", "unasked"))
    assert ended.code == 0
    assert "secret" not in ended.err
    assert place.reads("bare.json")["secret"] == ""


# secrets


async def test_a_secret_comes_through_a_pipe(place: Place) -> None:
    ended = await place.runs("scaffold", "new.json", "--secret-file", "-", lines=("hush-hush",))
    assert place.reads("new.json")["secret"] == "hush-hush"
    assert "hush" not in ended.out + ended.err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "does not exist"),
        ("", "contains no secret"),
        ("\n", "contains no secret"),
        (b"\xff", "is not UTF-8 text"),
    ],
)
def test_a_secret_file_without_a_secret_is_told(
    here: Path, content: str | bytes | None, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (here / "secret").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["scaffold", "app.json", "--secret-file", "secret"]) == 2
    assert f"secret {told}." in capsys.readouterr().err
    assert not (here / "app.json").exists()


def test_a_placeholder_of_the_instructions_is_still_to_be_filled_in(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "secret").write_text("hush-hush")
    given = ["--provider", "github", "--id", "YOUR_CLIENT_ID", "--secret-file", "secret"]
    assert main(["scaffold", "app.json", *given, "--json"]) == 0
    out, err = capsys.readouterr()
    assert "Fill in id, then run:" in err
    assert json.loads(out)["missing"] == ["id"]


def test_the_command_that_comes_next_can_be_copied_whatever_the_files_name(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scaffold", "my app's.json", "--blank"]) == 0
    command = capsys.readouterr().err.splitlines()[2]
    assert shlex.split(command) == [*PROGRAM.split(), "grant", "my app's.json", "my app's-user.json"]


# never over a filled-in file


@pytest.mark.posix
@pytest.mark.parametrize("content", [FILLED, {"installed": GOOGLE}, {"token": "x"}, [1], "not JSON", {"id": "only"}])
def test_a_filled_in_file_stays_unless_forced(
    here: Path, content: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (here / "app.json").write_text(text)
    assert main(["scaffold", "app.json", "--blank"]) == 9
    assert (here / "app.json").read_text() == text
    assert "--force" in capsys.readouterr().err
    assert main(["scaffold", "app.json", "--blank", "--force"]) == 0
    assert written(here) == TEMPLATE
    assert stat.S_IMODE((here / "app.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", json.dumps(TEMPLATE), json.dumps(TEMPLATE | {"auth_uri": "https://a.example"})])
def test_a_blank_template_may_be_replaced(here: Path, content: str) -> None:
    (here / "app.json").write_text(content)
    assert main(["scaffold", "app.json", "--provider", "google"]) == 0
    assert written(here)["auth_uri"] == PROVIDERS["google"].auth_uri


def test_a_folder_is_no_client_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scaffold", "."]) == 3
    assert "folder" in capsys.readouterr().err
    assert main(["scaffold", "absent/app.json"]) == 3
    assert "folder" in capsys.readouterr().err


# the wizard through a pipe


async def test_bare_and_piped_it_asks_for_everything(place: Place) -> None:
    ended = await place.runs("scaffold", lines=("new.json", "GitHub", "me", "hush-hush"))
    assert (ended.code, ended.out) == (0, "")
    told = place.reads("new.json")
    assert (told["id"], told["secret"]) == ("me", "hush-hush")
    assert told["auth_uri"] == PROVIDERS["github"].auth_uri
    assert "https://github.com/settings/developers" in ended.err
    assert "hush" not in ended.err


async def test_bare_and_at_the_end_of_the_input_it_writes_the_template(place: Place) -> None:
    assert (await place.runs("scaffold", lines=("new.json",))).code == 0
    assert place.reads("new.json") == TEMPLATE


async def test_bare_with_an_empty_input_it_writes_nothing_and_names_the_flags(place: Place) -> None:
    (place.folder / "app.json").unlink()
    for lines in (None, ()):
        failure(place, await place.runs("scaffold", lines=lines), 2, "--blank", "app.json was not written", talk=True)
    assert place.files() == set()


async def test_bare_with_nobody_to_ask_it_fails_where_a_file_is_kept(place: Place) -> None:
    before = place.reads("app.json")
    ended = await place.runs("scaffold")
    failure(place, ended, 9, "app.json exists", "--force", "app.json was not changed", talk=True)
    assert place.reads("app.json") == before


@pytest.mark.parametrize("answer", ["n", "", "no", "maybe"])
async def test_bare_it_keeps_an_existing_file_without_a_yes(place: Place, answer: str) -> None:
    before = place.reads("app.json")
    ended = await place.runs("scaffold", lines=("app.json", answer))
    assert ended.code == 0
    assert "app.json was kept" in ended.err
    assert place.reads("app.json") == before
    assert (await place.runs("scaffold", lines=("app.json", "y"))).code == 0
    assert place.reads("app.json") == TEMPLATE


async def test_bare_it_takes_an_issuer_for_a_provider(place: Place) -> None:
    assert (await place.runs("scaffold", lines=("new.json", place.provider.origin, "me"))).code == 0
    assert place.reads("new.json")["token_uri"] == place.provider.token_url


async def test_bare_a_provider_that_is_not_known_ends_it(place: Place) -> None:
    ended = await place.runs("scaffold", lines=("new.json", "gogle", "me"))
    failure(place, ended, 2, "Did you mean google?", "new.json was not written", talk=True)
    assert "new.json" not in place.files()
