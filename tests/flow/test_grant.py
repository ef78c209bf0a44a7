"""grant: one user's consent, through a child process, a browser that is told the truth, and a strict provider."""
from __future__ import annotations

import json
import socket
import stat
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from tests.conftest import Serve
from tests.support.place import Place, failure, link_in, redirect_uri_in, secrets_in, state_in


def mode_of(place: Place) -> int:
    return stat.S_IMODE((place.folder / "user.json").stat().st_mode)


# a yes


@pytest.mark.posix
async def test_the_user_file_is_on_disk_before_the_browser_is_told(place: Place) -> None:
    place.browser.look = lambda: place.reads("user.json")["token"]
    ended = await place.grants()
    assert (ended.code, ended.out) == (0, "")
    page = await place.browser.page()
    assert page.status == 200
    assert "Connected" in page.text
    assert "Granted:\nweather.read\nnotes" in page.text
    assert page.seen == place.reads("user.json")["token"]
    assert "code=" not in page.addresses[-1]
    assert mode_of(place) == 0o600
    assert place.reads("user.json")["scopes"] == ["weather.read", "notes"]


async def test_no_secret_is_said_nor_shown_nor_given_to_the_browser(place: Place) -> None:
    ended = await place.grants()
    page = await place.browser.page()
    assert not secrets_in(place, ended.out, ended.err, page.text, *place.browser.opened)
    assert link_in(ended.err) == place.browser.opened[0], "the URL is printed always"
    assert place.exchanged["code_verifier"] not in place.browser.opened[0]


async def test_the_scopes_come_from_words_and_flags(place: Place) -> None:
    ended = await place.runs("grant", "--app", "app.json", "--user", "user.json", "notes", "--scope", "weather.read")
    assert ended.code == 0
    assert place.asked["scope"] == "notes weather.read"


async def test_scopes_that_were_not_granted_are_told_everywhere(place: Place) -> None:
    place.provider.granted_scopes = lambda asked: asked[:1]
    ended = await place.grants("--json")
    assert ended.code == 0
    assert "Requested but not granted: notes" in ended.err
    assert json.loads(ended.out)["missing_scopes"] == ["notes"]
    assert "Not granted:\nnotes" in (await place.browser.page()).text
    assert "not granted: notes" in (await place.runs("show", "user.json")).out


async def test_parameters_for_the_consent_page(place: Place) -> None:
    assert (await place.grants("--param", "prompt=consent", "--param", "login_hint=a=b")).code == 0
    assert (place.asked["prompt"], place.asked["login_hint"]) == ("consent", "a=b")


async def test_parameters_of_the_token_request_are_sent_again_at_each_refresh(place: Place) -> None:
    assert (await place.grants("--token-param", "tenant=one", "--token-param", "region=a=b")).code == 0
    assert (await place.runs("refresh", "app.json", "user.json")).code == 0
    asked = [seen.parameters for seen in place.provider.log if seen.endpoint == "token"]
    assert [(form["tenant"], form["region"]) for form in asked] == [("one", "a=b")] * 2


REFUSED = {
    "--param": ["state=mine", "redirect_uri=https://evil.example", "code_challenge=x", "=x", "word"],
    "--token-param": ["code=mine", "client_secret=x", "=x", "word"],
}


@pytest.mark.parametrize(("flag", "param"), [(flag, param) for flag, params in REFUSED.items() for param in params])
async def test_a_parameter_that_the_protocol_needs_is_refused(place: Place, flag: str, param: str) -> None:
    name, mark, _ = param.partition("=")
    failure(place, await place.grants(flag, param), 2, name if mark else "K=V")
    assert place.browser.opened == []


@pytest.mark.parametrize("method", ["basic", "post"])
async def test_the_client_authenticates_as_told_and_so_at_each_refresh(place: Place, method: str) -> None:
    assert (await place.grants("--client-auth", method)).code == 0
    assert place.reads("user.json")["client_auth"] == method
    assert (await place.runs("refresh", "app.json", "user.json")).code == 0
    assert [seen.client_auth for seen in place.provider.log if seen.endpoint == "token"] == [method, method]


async def test_how_the_client_authenticates_is_learned_and_remembered(place: Place) -> None:
    place.provider.client_auth = "basic"
    assert (await place.grants()).code == 0
    assert place.reads("user.json")["client_auth"] == "basic"


async def test_a_public_client_sends_no_secret(place: Place) -> None:
    place.provider.add_client("public", None, ["http://127.0.0.1"])
    place.client(id="public", secret=None)
    assert (await place.grants()).code == 0
    assert place.provider.log[-1].client_auth == "none"


# where to listen


async def test_a_google_desktop_client_gets_a_free_port_of_127_0_0_1(place: Place) -> None:
    told = {"client_id": "practice-client", "client_secret": place.client()["secret"], "project_id": "x"}
    told |= {"auth_uri": place.provider.authorize_url, "token_uri": place.provider.token_url}
    place.writes("app.json", {"installed": told | {"redirect_uris": ["http://localhost"]}})
    assert (await place.grants()).code == 0
    parts = urlsplit(place.asked["redirect_uri"])
    assert parts.hostname == "127.0.0.1"
    assert parts.port not in (None, 0, 8080)


@pytest.mark.parametrize("uri", ["http://localhost:{}/back", "http://127.0.0.1:{}", "http://localhost:{}"])
async def test_a_given_redirect_uri_is_sent_byte_for_byte_in_both_requests(place: Place, uri: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        uri = uri.format(free.getsockname()[1])
    assert (await place.grants("--redirect-uri", uri)).code == 0
    assert place.asked["redirect_uri"] == place.exchanged["redirect_uri"] == uri


@pytest.mark.parametrize("uri", ["callback", "localhost:8080", "localhost:8080/back", "//localhost/back"])
async def test_a_redirect_uri_that_is_none_is_told_before_anybody_is_asked(place: Place, uri: str) -> None:
    ended = await place.grants("--redirect-uri", uri)
    failure(place, ended, 2, "not an absolute URI", "http://localhost:8080", "user.json was not written")


async def test_a_free_port_is_found_for_the_clients_own_redirect_uri(place: Place) -> None:
    place.client(redirect_uri="http://localhost:8080/back")
    assert (await place.grants("--port", "0")).code == 0
    parts = urlsplit(place.asked["redirect_uri"])
    assert (parts.hostname, parts.path) == ("localhost", "/back")
    assert parts.port not in (None, 0, 8080)


async def test_another_address_to_listen_on_leaves_the_redirect_uri_alone(place: Place) -> None:
    assert (await place.grants("--bind", "0.0.0.0")).code == 0
    assert urlsplit(place.asked["redirect_uri"]).hostname == "127.0.0.1"
    failure(place, await place.grants("--force", "--bind", "localhost"), 2, "--bind 0.0.0.0")
    failure(place, await place.grants("--force", "--bind", "192.0.2.1"), 8, "192.0.2.1", "user.json was not changed")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"SSH_CONNECTION": "192.0.2.7 5 192.0.2.9 2222", "USER": "ann"}, ("SSH", "ssh -p 2222 -L {p}:")),
        ({"container": "podman"}, ("container", "--bind 0.0.0.0 --port 8080", "-p 127.0.0.1:8080:8080")),
        ({}, ("DISPLAY",)),
    ],
    ids=["ssh", "container", "no display"],
)
@pytest.mark.parametrize("asked", [True, False], ids=["asked for none", "none at hand"])
async def test_without_a_browser_it_is_said_how_to_use_one_elsewhere(
    place: Place, environment: dict[str, str], words: tuple[str, ...], asked: bool
) -> None:
    place.env |= environment
    if not asked:
        del place.env["BROWSER"]
        words = ("No browser was opened", *words)
    elif not environment:
        words = ("as asked",)
    else:
        words = words[1:]
    child = await place.slyapi("grant", "app.json", "user.json", "notes", *(["--no-browser"] if asked else []))
    link = await child.says("/authorize?")
    await place.browser.visits(link)
    ended = await child.ends()
    assert ended.code == 0
    assert place.browser.opened == []
    for word in words:
        assert word.format(p=urlsplit(redirect_uri_in(link)).port) in ended.err


async def test_a_browser_that_fails_is_told_and_the_flow_goes_on(place: Place) -> None:
    place.env["BROWSER"] = "false:/absent/browser"
    child = await place.slyapi("grant", "app.json", "user.json", "notes")
    await place.browser.visits(await child.says("/authorize?"))
    ended = await child.ends()
    assert ended.code == 0
    assert "none could be started" in ended.err


# a no, and other answers


async def test_a_no_is_told_to_the_person_and_to_the_browser(place: Place) -> None:
    place.provider.consent = "deny"
    before = place.user()
    ended = await place.grants("--force")
    failure(place, ended, 4, "the person refused", "user.json was not changed. Run it again to consent.", talk=True)
    page = await place.browser.page()
    assert page.status == 403
    assert "Access was denied" in page.text
    assert "Connected" not in page.text
    assert place.reads("user.json") == before


async def test_a_wrong_secret_is_told_to_the_browser_too(place: Place) -> None:
    place.client(secret="not-the-secret")
    ended = await place.grants()
    failure(place, ended, 6, "--client-auth", talk=True)
    page = await place.browser.page()
    assert page.status == 400
    assert "Not connected" in page.text
    assert "not-the-secret" not in page.text + ended.err
    assert place.files() == {"app.json"}


@pytest.mark.parametrize(
    ("status", "body", "code", "word"),
    [
        (503, "<h1>down</h1>", 6, "503"),
        (400, '{"error": "invalid_grant", "error_description": "\\u001b[31mred\\nline"}', 6, "invalid_grant"),
        (200, "<html>", 6, "HTML"),
        (302, "", 6, "302"),
        (200, '{"access_token": "a\\r\\nb", "token_type": "Bearer"}', 6, "access_token"),
    ],
)
async def test_a_token_endpoint_that_fails_leaves_everything_as_it_was(
    place: Place, serve: Serve, status: int, body: str, code: int, word: str
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=body)

    server = await serve(handler)
    place.client(token_uri=f"{server.origin}/token")
    before = place.user()
    ended = await place.grants("--force")
    failure(place, ended, code, word, "user.json was not changed", talk=True)
    assert place.reads("user.json") == before
    assert (await place.browser.page()).status == 400


async def test_a_strange_redirect_is_refused_and_the_real_one_is_served(place: Place) -> None:
    place.browser.follows = False
    child = await place.slyapi("grant", "app.json", "user.json", "notes")
    link = await place.browser.asked()
    back, state = redirect_uri_in(link), state_in(link)
    strange = ["code=x&state=guessed", "code=x", "error=access_denied&state=x", "state=a&state=b", "code=a&code=b"]
    strange.append(f"code=x&state={state}&state={state}")
    for query in strange:
        page = await place.browser.visits(f"{back}/?{query}")
        assert page.status == 400, query
        assert "another attempt" in page.text
    await place.browser.visits(f"{back}/favicon.ico")
    page = await place.browser.visits(link)
    assert page.status == 200
    ended = await child.ends()
    assert ended.code == 0
    assert ended.err.count("wrong state") == 1


async def test_an_answer_of_another_issuer_ends_it(place: Place) -> None:
    place.client(issuer="https://honest.example")
    failure(place, await place.grants(), 4, "honest.example", talk=True)
    assert not [seen for seen in place.provider.log if seen.endpoint == "token"]


async def test_a_strangers_words_cannot_move_the_cursor(place: Place) -> None:
    place.browser.follows = False
    child = await place.slyapi("grant", "app.json", "user.json", "notes")
    link = await place.browser.asked()
    evil = "%1b[2J%0d%0aGranted.%00%c3%bc"
    query = f"error=server_error&error_description={evil}&state={state_in(link)}"
    page = await place.browser.visits(f"{redirect_uri_in(link)}/?{query}")
    assert page.status == 400
    ended = await child.ends()
    said = failure(place, ended, 4, "server_error", "Try again later", talk=True)
    assert "\r" not in said
    assert "\nGranted" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("dpop", [False, True])
async def test_where_the_provider_requires_it_the_request_is_pushed(place: Place, dpop: bool) -> None:
    place.provider.require_par, place.provider.dpop = True, "required" if dpop else "off"
    place.client(par_uri=f"{place.provider.origin}/par", require_par=True, dpop=dpop or None)
    ended = await place.grants()
    assert ended.code == 0
    assert "request_uri=" in place.browser.opened[0]
    assert "scope=" not in place.browser.opened[0]
    assert place.reads("user.json")["token_type"] == ("DPoP" if dpop else "Bearer")
    assert ("dpop_key" in place.reads("user.json")) is dpop
    assert not secrets_in(place, ended.out, ended.err, *place.browser.opened)
