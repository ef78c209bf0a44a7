"""`doctor`: what it finds in a set-up, what it sends to find it, and how it ends."""
from __future__ import annotations

import json
import shutil
import ssl
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI import OAuth2App, OAuth2User
from SlyAPI.cli.doctor.access_list import readers
from SlyAPI.cli.doctor.checks import Finding, findings
from SlyAPI.cli.doctor.command import report_lines
from SlyAPI.cli.doctor.facts import EndpointFacts, Facts, FileFacts
from SlyAPI.errors import CredentialsError, GrantEndedError, NetworkError
from SlyAPI.transport.certificates import thumbprint
from tests.conftest import Serve
from tests.support.certificates import make_certificate
from tests.support.place import Place, failure, place_at, secrets_in
from tests.support.serving import all_by, served

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ISSUER = "https://login.example"
METADATA: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "code_challenge_methods_supported": ["S256"],
    "token_endpoint_auth_methods_supported": ["client_secret_basic"],
}


def app_of(**changed: Any) -> OAuth2App:
    settings: dict[str, Any] = {"auth_uri": f"{ISSUER}/authorize", "token_uri": f"{ISSUER}/token"} | changed
    return OAuth2App("id", "secret", settings.pop("auth_uri"), settings.pop("token_uri"), **settings)


def user_of(**changed: Any) -> OAuth2User:
    usual: dict[str, Any] = {"scopes": ["a", "b"], "requested_scopes": ["a", "b"], "expires_at": NOW}
    return OAuth2User("T", **{"refresh_token": "R", **usual, **changed})


def facts_of(**changed: Any) -> Facts:
    """A set-up in which everything is right, some of it changed."""
    date = formatdate(NOW.timestamp(), usegmt=True)
    usual: dict[str, Any] = {
        "app": app_of(),
        "user_name": "user.json",
        "user": user_of(),
        "renewable": True,
        "files": [FileFacts("app.json", 0o600), FileFacts("user.json", 0o600)],
        "endpoints": [
            EndpointFacts("auth_uri", f"{ISSUER}/authorize", NOW.timestamp(), 400),
            EndpointFacts("token_uri", f"{ISSUER}/token", NOW.timestamp(), 405, date),
        ],
        "issuer": ISSUER,
        "metadata": METADATA,
        "refreshed": True,
    }
    return Facts("app.json", NOW, **{**usual, **changed})


def wrong_in(facts: Facts) -> list[Finding]:
    return [each for each in findings(facts) if each.state == "wrong"]


# the checks, over what was gathered


def test_a_set_up_in_order_has_every_check_and_nothing_to_correct() -> None:
    found = findings(facts_of())
    assert {each.state for each in found} == {"ok"}
    assert list(dict.fromkeys(each.check for each in found)) == [
        *("client file", "user", "mode", "git", "auth_uri", "token_uri", "TLS", "clock", "metadata"),
        *("redirect URI", "PKCE", "scopes", "grant", "refresh"),
    ]


def endpoint(**changed: Any) -> EndpointFacts:
    return EndpointFacts(**{"name": "token_uri", "url": f"{ISSUER}/token", "at": NOW.timestamp(), **changed})


def date(seconds: float) -> str:
    return formatdate(NOW.timestamp() + seconds, usegmt=True)


TLS_FAILED = NetworkError("POST https://login.example/token: TLS failed.", kind="configuration", next_step="Check.")
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no client file": ({"app": None, "app_problem": CredentialsError("x", next_step="y")}, "client file", "x y"),
    "a misspelt key": ({"misspelt": {"secert": "secret"}}, "client file", "secert secret"),
    "no user": ({"user": None, "user_problem": CredentialsError("x", next_step="y")}, "user", "x y"),
    "a file for all": ({"files": [FileFacts("a b", 0o640)]}, "mode", "0640 chmod 'a"),
    "a file of Windows that others read": (
        {"files": [FileFacts("a.json", readers=["Everyone", "S-1-5-21-7-1001"])]},
        "access",
        "Everyone, S-1-5-21-7-1001 icacls",
    ),
    "a tracked file": ({"files": [FileFacts("a.json", None, "tracked")]}, "git", "git rm --cached a.json"),
    "a file git takes": ({"files": [FileFacts("x/[a].json", None, "untracked")]}, "git", ".gitignore /\\[a].json"),
    "no network": ({"endpoints": [endpoint(problem=NetworkError("x", next_step="y"))]}, "token_uri", "x y"),
    "a wrong path": ({"endpoints": [endpoint(status=404)]}, "token_uri", "404 token_uri"),
    "no TLS": ({"endpoints": [endpoint(problem=TLS_FAILED)]}, "TLS", "failed Check."),
    "a clock behind": ({"endpoints": [endpoint(status=400, date=date(300))]}, "clock", "300 behind ntp"),
    "a clock ahead": ({"endpoints": [endpoint(status=400, date=date(-90))]}, "clock", "90 ahead"),
    "no metadata": ({"metadata": None, "metadata_problem": CredentialsError("x", next_step="y")}, "metadata", "x y"),
    "another token_uri": ({"app": app_of(token_uri="https://old.example/t")}, "metadata", "old.example token_uri"),
    "another client_auth": ({"app": app_of(client_auth="post")}, "metadata", "post client_auth"),
    "a redirect by http": ({"app": app_of(redirect_uri="http://a.example/")}, "redirect URI", "plain http https"),
    "a scheme of nobody": ({"app": app_of(redirect_uri="myapp:/back")}, "redirect URI", "myapp dot"),
    "PKCE off": ({"app": app_of(pkce=False)}, "PKCE", "pkce false"),
    "a scope missing": ({"user": user_of(scopes=["a"])}, "scopes", "Not granted: b grant"),
    "a client's scope missing": ({"app": app_of(scopes=["c"])}, "scopes", "Not granted: c grant"),
    "a grant that ended": ({"user": user_of(refresh_expires_at=NOW)}, "grant", "ended grant"),
    "a grant that ends soon": (
        {"user": user_of(refresh_expires_at=NOW + timedelta(days=3))},
        "grant",
        "soon 2030-01-04 grant",
    ),
    "offline_access that was ignored": (
        {
            "user_path": "user.json",
            "renewable": False,
            "app": app_of(scopes=["offline_access"]),
            "user": user_of(
                refresh_token=None,
                scopes=["offline_access"],
                requested_scopes=["offline_access"],
                expires_at=NOW + timedelta(hours=1),
            ),
        },
        "grant",
        "no refresh token grant app.json user.json offline_access --force --param prompt=consent",
    ),
    "no refresh token": (
        {"renewable": False, "user": user_of(refresh_token=None, expires_at=NOW + timedelta(hours=1))},
        "grant",
        "refresh token offline",
    ),
    "a refused refresh": (
        {"refreshed": False, "refresh_problem": GrantEndedError(400, "x", message="ended", next_step="again")},
        "refresh",
        "ended again",
    ),
}


@pytest.mark.parametrize(("changed", "check", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_one_finding_that_says_what_to_do(changed: dict[str, Any], check: str, words: str) -> None:
    (found,) = wrong_in(facts_of(**changed))
    assert found.check == check
    assert found.next_step
    for word in words.split():
        assert word in f"{found.text} {found.next_step}"


RIGHT: dict[str, tuple[dict[str, Any], str, str]] = {
    "a system without modes": ({"files": [FileFacts("a.json")]}, "git", "ok"),
    "a refusal, which is an answer": ({"endpoints": [endpoint(status=405)]}, "token_uri", "ok"),
    "a failure at our empty probe": ({"endpoints": [endpoint(status=500)]}, "token_uri", "ok"),
    "no https": ({"endpoints": [endpoint(url="http://127.0.0.1/t", status=400)]}, "TLS", "skipped"),
    "less than a minute": ({"endpoints": [endpoint(status=400, date=date(59))]}, "clock", "ok"),
    "no Date": ({"endpoints": [endpoint(status=400)]}, "clock", "skipped"),
    "an unreadable Date": ({"endpoints": [endpoint(status=400, date="soon")]}, "clock", "skipped"),
    "no issuer": ({"metadata": None}, "metadata", "skipped"),
    "a redirect of a web application": ({"app": app_of(redirect_uri="https://a.example/")}, "redirect URI", "ok"),
    "a scheme of an app": ({"app": app_of(redirect_uri="com.example.app:/back")}, "redirect URI", "ok"),
    "no consent page": ({"app": app_of(auth_uri="")}, "redirect URI", "skipped"),
    "metadata without PKCE": ({"metadata": METADATA | {"code_challenge_methods_supported": 1}}, "PKCE", "skipped"),
    "no scopes known": ({"user": user_of(scopes=[])}, "scopes", "skipped"),
    "offline_access with a refresh token": (
        {"user": user_of(requested_scopes=["a", "b", "offline_access"])},
        "scopes",
        "ok",
    ),
    "a grant of four days": ({"user": user_of(refresh_expires_at=NOW + timedelta(days=4))}, "grant", "ok"),
    "a token without an end": ({"renewable": False, "user": user_of(expires_at=None)}, "grant", "ok"),
    "no refresh asked for": ({"refreshed": False}, "refresh", "skipped"),
}


@pytest.mark.parametrize(("changed", "check", "state"), RIGHT.values(), ids=RIGHT.keys())
def test_what_is_not_wrong_is_right_or_not_checked(changed: dict[str, Any], check: str, state: str) -> None:
    found = findings(facts_of(**changed))
    assert [each for each in found if each.state == "wrong"] == []
    assert state in {each.state for each in found if each.check == check}


strange = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)


@given(st.dictionaries(st.sampled_from(sorted({*METADATA, "jwks_uri"} - {"issuer"})), strange), st.text())
def test_no_metadata_and_no_date_make_a_check_fail(metadata: dict[str, Any], when: str) -> None:
    facts = facts_of(app=app_of(client_auth="post"), metadata=metadata, endpoints=[endpoint(status=400, date=when)])
    assert {each.check for each in findings(facts)} >= {"metadata", "PKCE", "clock"}


def test_the_report_is_one_line_each_with_what_to_do_below() -> None:
    found = [Finding("a", "ok", "fine"), Finding("long", "wrong", "bad", "do this"), Finding("b", "skipped", "why")]
    assert report_lines(found, None) == [
        *("✓ a     fine", "✗ long  bad", "        do this", "- b     why", "", "1 to correct."),
    ]
    assert "".join(report_lines(found, None, ascii=True)).isascii()
    assert report_lines(found[:1], None, ascii=True)[-1] == "Nothing to correct."


# the command


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place, None]:
    async with place_at(tmp_path) as place:
        (place.folder / "app.json").chmod(0o600)
        yield place


@pytest.fixture
def repository(place: Place) -> None:
    """Makes the folder a git repository."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    subprocess.run(["git", "init", "-q", str(place.folder)], check=True, timeout=30)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate and key for 127.0.0.1 that nobody has signed."""
    make_certificate(tmp_path, "both", hosts=["127.0.0.1"])
    return tmp_path / "both.pem"


@pytest.mark.slow
async def test_a_granted_user_has_nothing_to_correct(place: Place) -> None:
    await place.grants()
    before = place.reads("user.json")
    ended = await place.runs("doctor", "app.json", "user.json")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.endswith("Nothing to correct.\n")
    assert "✗" not in ended.out
    assert secrets_in(place, ended.out) == []
    assert place.reads("user.json") == before


@pytest.mark.slow
async def test_a_client_is_checked_without_a_user(place: Place) -> None:
    ended = await place.runs("doctor", "app.json", "--json")
    assert ended.code == 0
    assert "user" not in {each["check"] for each in json.loads(ended.out)["findings"]}
    failure(place, await place.runs("doctor", "app.json", "--refresh"), 2, "USER.json")


@pytest.mark.slow
async def test_a_refresh_that_is_asked_for_is_saved(place: Place) -> None:
    await place.grants()
    before = place.reads("user.json")
    ended = await place.runs("doctor", "app.json", "user.json", "--refresh", "--json")
    assert ended.code == 0, ended
    (refresh,) = (each for each in json.loads(ended.out)["findings"] if each["check"] == "refresh")
    assert refresh["state"] == "ok"
    assert place.reads("user.json")["token"] != before["token"]
    assert (await place.runs("doctor", "app.json", "user.json", "--refresh")).code == 0


@pytest.mark.slow
async def test_a_refused_refresh_is_a_finding(place: Place) -> None:
    place.user()
    ended = await place.runs("doctor", "app.json", "user.json", "--refresh")
    assert (ended.code, ended.err) == (3, "")
    assert "✗ refresh" in ended.out
    assert secrets_in(place, ended.out) == []


@pytest.mark.slow
async def test_no_credential_is_sent_without_refresh(place: Place, serve: Serve) -> None:
    async def refuses(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://127.0.0.1:1/") if request.path == "/authorize" else web.HTTPMethodNotAllowed("", "")

    server = await serve(refuses)
    uris = {f"{name}_uri": f"{server.origin}/{name}" for name in ("revoke", "introspect", "device", "userinfo")}
    place.client(auth_uri=f"{server.origin}/authorize", token_uri=f"{server.origin}/token", **uris)
    place.user(expires_at="2001-01-01T00:00:00Z")
    await place.runs("doctor", "app.json", "user.json")
    assert sorted(seen.path for seen in server.seen) == [
        *("/authorize", "/device", "/introspect", "/revoke", "/token", "/userinfo"),
    ]
    for seen in server.seen:
        assert (seen.method, seen.query, seen.body) == ("GET", [], b"")
        assert secrets_in(place, str(seen.headers), "practice-client") == []
        assert "Authorization" not in seen.headers


@pytest.mark.slow
async def test_a_wrong_clock_another_address_and_a_missing_endpoint_are_found(place: Place, serve: Serve) -> None:
    origin: list[str] = []

    async def answers(request: web.Request) -> web.StreamResponse:
        headers = {"Date": formatdate(datetime.now().timestamp() + 3600, usegmt=True)}
        if "well-known" in request.path:
            endpoints = {"authorization_endpoint": f"{origin[0]}/authorize", "token_endpoint": f"{origin[0]}/new"}
            return web.json_response({"issuer": origin[0], **endpoints}, headers=headers)
        return web.Response(status=404 if request.path == "/token" else 500, headers=headers)

    server = await serve(answers)
    origin.append(server.origin)
    place.client(issuer=server.origin, auth_uri=f"{server.origin}/authorize", token_uri=f"{server.origin}/token")
    (place.folder / "app.json").chmod(0o600)
    ended = await place.runs("doctor", "app.json", "--json")
    assert ended.code == 3
    found = {each["check"]: each for each in json.loads(ended.out)["findings"] if each["state"] == "wrong"}
    assert set(found) == {"token_uri", "clock", "metadata"}
    assert "behind" in found["clock"]["text"]
    assert f"{server.origin}/new" in found["metadata"]["text"]


@pytest.mark.slow
async def test_a_store_without_a_name_and_a_proxy_that_is_not_used_are_findings(place: Place) -> None:
    place.env["HTTPS_PROXY"] = "http://user:hush@127.0.0.1:9"
    place.client(auth_uri="http://127.0.0.1:9/authorize", token_uri="http://127.0.0.1:9/token")
    (place.folder / "folder").mkdir(mode=0o700)
    place.user("folder/user.json")
    ended = await place.runs("doctor", "app.json", "--store", "file:folder", "--json")
    found = {each["check"]: each for each in json.loads(ended.out)["findings"]}
    assert (found["store"]["state"], "1 user;" in found["store"]["text"]) == ("ok", True)
    assert (found["proxy"]["state"], "HTTPS_PROXY" in found["proxy"]["text"]) == ("wrong", True)
    assert "--proxy" in found["proxy"]["next_step"]
    assert "hush" not in ended.out + ended.err


@pytest.mark.slow
async def test_files_that_cannot_be_used_are_findings_and_the_rest_is_checked(place: Place) -> None:
    place.writes("user.json", "{")
    ended = await place.runs("doctor", "app.json", "user.json")
    assert ended.code == 3
    assert "✗ user" in ended.out
    assert "✓ token_uri" in ended.out
    ended = await place.runs("doctor", "absent.json", "absent-too.json")
    assert ended.code == 3
    assert ended.out.count("✗") == 2
    assert "scaffold" in ended.out
    ended = await place.runs("doctor", "app.json", "--store", "sqlite:absent.db", "--name", "ada")
    assert ended.code == 3
    assert "✗ user" in ended.out


@pytest.mark.slow


@pytest.mark.parametrize(
    ("descriptor", "others"),
    [
        ("O:S-1-5-21-7-1000D:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;FA;;;S-1-5-21-7-1000)", []),
        ("O:BAD:(A;;0x1200a9;;;BU)(A;;FR;;;WD)(A;ID;FR;;;WD)", ["Users", "Everyone"]),
        ("O:S-1-5-21-7-1000D:PAI(A;;FA;;;S-1-5-21-7-1000)(A;;GR;;;S-1-5-21-7-1001)", ["S-1-5-21-7-1001"]),
        ("O:SYD:(A;OICIIO;GA;;;AU)(A;OICI;CCSW;;;AU)", ["Authenticated Users"]),
        ("O:SYD:(A;OICIIO;GA;;;AU)(D;;FA;;;WD)(A;;0x100000;;;BU)(A;;SDRC;;;BG)", []),
        ("O:SYG:SYD:NO_ACCESS_CONTROL", ["Everyone"]),
        ("O:SYD:", []),
        ("", []),
    ],
)
def test_an_access_list_of_windows_says_who_else_may_read(descriptor: str, others: list[str]) -> None:
    """[MS-DTYP] §2.5.1: security descriptors as text."""
    assert readers(descriptor) == others


@pytest.mark.usefixtures("repository")
async def test_modes_and_git_are_checked(place: Place) -> None:
    (place.folder / "app.json").chmod(0o644)
    ended = await place.runs("doctor", "app.json")
    assert ended.code == 3
    assert "chmod 600 app.json" in ended.out
    assert "/app.json to .gitignore" in ended.out
    (place.folder / ".gitignore").write_text("/app.json\n")
    (place.folder / "app.json").chmod(0o600)
    assert (await place.runs("doctor", "app.json")).code == 0


@pytest.mark.posix
@pytest.mark.slow
async def test_tls_is_checked(place: Place, certificate: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)

    async def refuses(request: web.Request) -> web.StreamResponse:
        raise web.HTTPBadRequest

    async with served(all_by(refuses), ssl_context=tls) as plain:
        origin = plain.replace("http:", "https:")
        place.client(auth_uri=f"{origin}/authorize", token_uri=f"{origin}/token")
        (place.folder / "app.json").chmod(0o600)
        ended = await place.runs("doctor", "app.json")
        assert ended.code == 3
        assert "✗ TLS" in ended.out
        place.env["SSL_CERT_FILE"] = str(certificate)
        ended = await place.runs("doctor", "app.json")
        assert ended.code == 0, ended.out
        assert "✓ TLS" in ended.out


@pytest.mark.slow
async def test_the_clients_certificate_is_checked(place: Place) -> None:
    make_certificate(place.folder, "client")
    (place.folder / "client.pem").chmod(0o600)
    place.client(certificate="client.pem")
    ended = await place.runs("doctor", "app.json")
    assert thumbprint(place.folder / "client.pem") in ended.out
    assert "✓ certificate" in ended.out
    (place.folder / "client.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    ended = await place.runs("doctor", "app.json")
    assert (ended.code, "✗ certificate" in ended.out) == (3, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"exp": 4e9}, "✓ assertion robin https://login.example"),
        ({"exp": 1}, "✗ assertion expired"),
        ("no-JWT", "✗ assertion client_assertion"),
        (None, "✗ assertion read"),
    ],
    ids=str,
)
async def test_the_assertion_of_a_platform_is_read_and_not_shown(place: Place, what: Any, words: str) -> None:
    signature = "signature-5EC9E7"
    claims = {"sub": "robin", "aud": ISSUER, **(what if isinstance(what, dict) else {})}
    body = urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    if what is not None:
        text = f"e30.{body}.{signature}" if isinstance(what, dict) else f"{what}-{signature}"
        (place.folder / "token").write_text(text)
    place.client(secret=None, client_assertion={"file": "token"})
    (place.folder / "app.json").chmod(0o600)
    ended = await place.runs("doctor", "app.json")
    assert (ended.code, signature in ended.out + ended.err) == (0 if "✓" in words else 3, False), ended
    assert all(word in ended.out for word in words.split()), ended.out


@pytest.mark.slow
async def test_where_the_terminal_has_no_marks_they_are_words(place: Place) -> None:
    place.env |= {"PYTHONIOENCODING": "ascii"}
    ended = await place.runs("doctor", "app.json")
    assert ended.out.isascii()
    assert ended.out.startswith("ok    client file")
