"""docs/examples/bluesky.py without Bluesky: who an account is, and servers that speak for accounts of others.

The rule: the network here is built from the AT Protocol's specifications (https://atproto.com/specs). The protocol's
own servers are in `end_to_end/test_bluesky.py`.
"""
from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import bluesky
import pytest
from aiohttp import web
from bluesky_identity import Account, Directory, Record, dids_in

from SlyAPI import OAuth2App, OAuth2User
from SlyAPI.errors import BadReplyError, IdentityError, NetworkError, SlyError
from SlyAPI.json_file import write_json_file
from tests.support.other_hosts import session_with_hosts
from tests.support.serving import all_by, served
from tests.support.stand_in_browser import stand_in_browser

ALICE = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
BOB = "did:plc:z72i7hdynmk6r22z27h6tvur"
WEB = "did:web:carol.test"
PDS = "https://pds.test"
PLC = ("plc.test", "plc.localhost")
"""A directory for the world, and one of this machine, whose documents may name servers here."""
HOSTS = ("dns.test", "alice.test", "bob.test", "carol.test", "moved.test", "xn--ls8h.test", "pds.test", *PLC)


def document(did: str, handle: str = "alice.test", pds: Any = PDS, **changed: Any) -> dict[str, Any]:
    """A DID document as the PLC directory gives it."""
    service = {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": pds}
    context = {"@context": ["https://www.w3.org/ns/did/v1"], "verificationMethod": [{"id": f"{did}#atproto"}]}
    return {**context, "id": did, "alsoKnownAs": [f"at://{handle}"], "service": [service], **changed}


@dataclass
class World:
    """What is published: documents by DID, DNS records by name, and what the host of a handle serves."""

    documents: dict[str, Any] = field(default_factory=lambda: {ALICE: document(ALICE), BOB: document(BOB, "bob.test")})
    dns: dict[str, list[str]] = field(default_factory=dict)
    hosts: dict[str, tuple[int, str]] = field(default_factory=lambda: {"alice.test": (200, ALICE)})
    dns_works: bool = True
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        host, path = request.host, request.path
        self.asked.append(f"{host}{path}")
        if host == "dns.test":
            if not self.dns_works:
                return web.Response(status=503)
            texts = self.dns.get(request.query["name"], [])
            found = [{"name": request.query["name"], "type": 16, "TTL": 300, "data": text} for text in texts]
            alias = {"name": "x.", "type": 5, "TTL": 300, "data": "did=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"}
            return web.json_response({"Status": 0, "Answer": [alias, *found]} if found else {"Status": 3})
        if host in PLC or path == "/.well-known/did.json":
            did = path[1:] if host in PLC else f"did:web:{host}"
            return web.json_response(self.documents[did]) if did in self.documents else web.Response(status=404)
        status, text = self.hosts.get(host, (404, "none"))
        return web.Response(status=status, text=text, headers={"Location": text} if status == 302 else {})


@pytest.fixture
async def world() -> World:
    return World()


@pytest.fixture
async def directory(world: World, tmp_path: Path) -> AsyncIterator[Directory]:
    async with session_with_hosts(tmp_path, HOSTS, world.answer) as session:
        yield Directory("https://plc.test", "https://dns.test/resolve", session)


# --- from a name to an account ---


@pytest.mark.parametrize(
    ("name", "did"),
    [("alice.test", ALICE), ("@Alice.TEST", ALICE), (ALICE, ALICE), ("bob.test", BOB), (WEB, WEB), ("carol.test", WEB)],
)
async def test_an_account_is_found_by_its_handle_or_its_did(
    world: World, directory: Directory, name: str, did: str
) -> None:
    world.documents[WEB] = document(WEB, "carol.test")
    world.hosts["carol.test"] = (200, f" {WEB}\n")
    world.dns["_atproto.bob.test"] = ['"unrelated"', f'"did={BOB}"']
    assert await directory.account(name) == Account(did, PDS)


async def test_the_dns_record_counts_before_the_host(world: World, directory: Directory) -> None:
    world.hosts["bob.test"] = (200, ALICE)
    world.dns["_atproto.bob.test"] = [f'"did={BOB}"']
    assert (await directory.account("bob.test")).did == BOB
    assert "bob.test/.well-known/atproto-did" not in world.asked


async def test_a_resolver_that_does_not_answer_leaves_the_host(world: World, directory: Directory) -> None:
    world.dns_works = False
    assert (await directory.account("alice.test")).did == ALICE


def test_a_long_dns_record_is_one_text() -> None:
    assert dids_in([Record(16, f'"did={WEB[:9]}" "{WEB[9:]}"'), Record(1, f"did={BOB}")]) == [WEB]


async def test_the_host_of_a_handle_may_redirect(world: World, directory: Directory) -> None:
    world.hosts |= {"moved.test": (302, "https://alice.test/elsewhere")}
    world.documents[ALICE] = document(ALICE, "moved.test")
    assert (await directory.account("moved.test")).did == ALICE


NOT_HANDLES = (
    *("alice", "alice.", ".test", "alice..test", "-a.test", "a-.test", "alice.0", "127.0.0.1", "alice.test/x"),
    *("alice.test:8080", "alice.test?x", "user@alice.test", "álice.test", "alice.test\n", "a" * 250 + ".test", ""),
    *("alice.local", "alice.localhost", "alice.onion", "alice.internal", "alice.example", "alice.arpa"),
)


@pytest.mark.parametrize("name", NOT_HANDLES, ids=ascii)
async def test_what_is_not_a_handle_is_not_looked_up(world: World, directory: Directory, name: str) -> None:
    with pytest.raises(IdentityError):
        await directory.account(name)
    assert world.asked == []


NOT_DIDS = (
    *("did:plc:short", f"{ALICE}/x", f"{ALICE}?x", f"{ALICE}#x", ALICE.upper().replace("DID:PLC", "did:plc")),
    *("did:key:zQ3sh", "did:web:carol.test:path", "did:web:carol.test%3A8080", "did:web:localhost", "did:web:10.0.0.1"),
    *("did:web:carol.local", "did:web:", "did:", f" {ALICE}"),
)


@pytest.mark.parametrize("did", NOT_DIDS, ids=ascii)
async def test_what_is_not_a_did_of_a_known_kind_is_not_looked_up(
    world: World, directory: Directory, did: str
) -> None:
    for name in (did, "alice.test"):
        world.dns["_atproto.alice.test"] = [f'"did={did}"']
        with pytest.raises(IdentityError):
            await directory.account(name)
    assert not [asked for asked in world.asked if not asked.startswith("dns.test")]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"documents": {ALICE: document(ALICE, "someone.test")}}, IdentityError),
        ({"documents": {ALICE: document(ALICE, alsoKnownAs=["at://other.test", "at://alice.test"])}}, IdentityError),
        ({"documents": {ALICE: document(ALICE, alsoKnownAs=["https://alice.test"])}}, IdentityError),
        ({"documents": {ALICE: document(BOB)}}, IdentityError),
        ({"documents": {ALICE: [ALICE]}}, BadReplyError),
        ({"documents": {ALICE: {"id": 7}}}, BadReplyError),
        ({"documents": {}}, SlyError),
        ({"documents": {ALICE: document(ALICE, service=[])}}, IdentityError),
        ({"documents": {ALICE: document(ALICE, pds=None)}}, IdentityError),
        ({"documents": {ALICE: document(ALICE, pds={"a": PDS})}}, IdentityError),
        ({"documents": {ALICE: document(ALICE, pds=f"{PDS}/path")}}, IdentityError),
        ({"documents": {ALICE: document(ALICE, pds=f"{PDS}?x")}}, IdentityError),
        ({"documents": {ALICE: document(ALICE, pds="https://user@pds.test")}}, IdentityError),
        ({"documents": {ALICE: document(ALICE, pds="pds.test")}}, IdentityError),
        ({"hosts": {"alice.test": (404, "not here")}}, IdentityError),
        ({"hosts": {"alice.test": (200, "<html>")}}, IdentityError),
        ({"hosts": {"alice.test": (200, f"{ALICE}\n{BOB}")}}, IdentityError),
        ({"hosts": {"alice.test": (200, ALICE + " " * 100_000)}}, BadReplyError),
        ({"dns": {"_atproto.alice.test": [f'"did={ALICE}"', f'"did={BOB}"']}}, IdentityError),
    ],
    ids=range(19),
)
async def test_an_account_that_is_not_clear_is_refused(
    world: World, directory: Directory, changes: dict[str, Any], error: type[SlyError]
) -> None:
    for name, value in changes.items():
        setattr(world, name, value)
    with pytest.raises(error):
        await directory.account("alice.test")


@pytest.mark.parametrize("pds", ["http://127.0.0.1:8000", "https://10.0.0.1", "https://[::1]", "https://pds.internal"])
async def test_a_document_names_no_server_inside(world: World, directory: Directory, pds: str) -> None:
    world.documents[ALICE] = document(ALICE, pds=pds)
    with pytest.raises(IdentityError):
        await directory.account("alice.test")


async def test_a_host_that_does_not_exist_is_an_error_that_names_it(directory: Directory) -> None:
    with pytest.raises(NetworkError, match=r"nobody\.test"):
        await directory.account("nobody.test")


async def test_the_first_handle_of_a_document_counts_whatever_stands_before_it(
    world: World, directory: Directory
) -> None:
    names = ["https://alice.test", "at://not a handle", "at://Alice.test", "at://other.test"]
    world.documents[ALICE] = document(ALICE, alsoKnownAs=names)
    assert (await directory.account("alice.test")).did == ALICE


# --- servers that sign people in ---


@dataclass
class Server:
    """A PDS or an authorization server that signs in whoever it likes: `reply` is added to its token reply."""

    reply: dict[str, Any] = field(default_factory=dict)
    trusts: str = ""
    is_pds: bool = True
    is_issuer: bool = True
    origin: str = ""
    pushed: dict[str, str] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        match request.path:
            case "/.well-known/oauth-protected-resource" if self.is_pds:
                return web.json_response(
                    {"resource": self.origin, "authorization_servers": [self.trusts or self.origin]}
                )
            case "/.well-known/oauth-authorization-server" if self.is_issuer:
                return web.json_response(self.metadata())
            case "/par":
                assert request.headers["DPoP"]
                self.pushed = {name: str(value) for name, value in (await request.post()).items()}
                return web.json_response({"request_uri": "urn:x", "expires_in": 60}, status=201)
            case "/authorize":
                back = urlencode({"code": "c", "state": self.pushed["state"], "iss": self.origin})
                return web.Response(status=303, headers={"Location": f"{self.pushed['redirect_uri']}?{back}"})
            case "/token":
                assert request.headers["DPoP"]
                usual = {"access_token": "a", "token_type": "DPoP", "refresh_token": "r", "scope": "atproto"}
                reply = {**usual, **self.reply}
                return web.json_response({name: value for name, value in reply.items() if value is not None})
        return web.Response(status=404)

    def metadata(self) -> dict[str, Any]:
        names = {"authorization": "authorize", "token": "token", "pushed_authorization_request": "par"}
        return {
            "issuer": self.origin,
            **{f"{name}_endpoint": f"{self.origin}/{path}" for name, path in names.items()},
            "require_pushed_authorization_requests": True,
            "authorization_response_iss_parameter_supported": True,
            "code_challenge_methods_supported": ["S256"],
            "dpop_signing_alg_values_supported": ["ES256"],
            "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        }


HERE, ELSEWHERE, ENTRYWAY = "here", "elsewhere", "entryway"


@pytest.mark.parametrize(
    ("start", "pds", "reply", "accepted"),
    [
        ("alice.test", HERE, {"sub": ALICE}, True),
        (ALICE, HERE, {"sub": ALICE}, True),
        (HERE, HERE, {"sub": ALICE}, True),
        (ENTRYWAY, "behind", {"sub": ALICE}, True),
        ("alice.test", "behind", {"sub": ALICE}, True),
        ("alice.test", HERE, {"sub": BOB}, False),
        (ALICE, HERE, {"sub": BOB}, False),
        ("alice.test", HERE, {}, False),
        ("alice.test", HERE, {"sub": "alice.test"}, False),
        (HERE, HERE, {}, False),
        (HERE, HERE, {"sub": "alice"}, False),
        (HERE, HERE, {"sub": "did:web:nobody.test"}, False),
        (HERE, ELSEWHERE, {"sub": ALICE}, False),
        (ENTRYWAY, ELSEWHERE, {"sub": ALICE}, False),
        ("alice.test", HERE, {"sub": ALICE, "scope": "transition:generic"}, False),
        (HERE, HERE, {"sub": ALICE, "scope": "transition:generic"}, False),
        ("alice.test", HERE, {"sub": ALICE, "token_type": "Bearer"}, False),
    ],
    ids=ascii,
)
async def test_a_server_signs_in_its_own_accounts_alone(
    world: World,
    directory: Directory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: str,
    pds: str,
    reply: dict[str, Any],
    accepted: bool,
) -> None:
    servers = {
        HERE: Server(reply),
        ELSEWHERE: Server({"sub": ALICE}),
        ENTRYWAY: Server(reply, is_pds=False),
        "behind": Server(is_issuer=False),
    }
    async with AsyncExitStack() as stack:
        for server in servers.values():
            server.origin = await stack.enter_async_context(served(all_by(server.answer)))
        servers["behind"].trusts = servers[ENTRYWAY].origin
        world.documents[ALICE] = document(ALICE, pds=servers[pds].origin)
        browser = await stack.enter_async_context(stand_in_browser(tmp_path))
        monkeypatch.setenv("BROWSER", browser.command)
        here = replace(directory, plc="https://plc.localhost")
        words = ("login", f"{servers[start].origin}/" if start in servers else start)
        if accepted:
            await bluesky.main(words, here, tmp_path)
            assert (await browser.page()).status == 200
        else:
            with pytest.raises(SlyError):
                await bluesky.main(words, here, tmp_path)
            assert (await browser.page()).status == 400
    assert (tmp_path / "bluesky-user.json").exists() == accepted
    hints = [server.pushed["login_hint"] for server in servers.values() if "login_hint" in server.pushed]
    assert hints == ([] if start in servers else [start])


# --- what is printed ---


async def test_no_post_reaches_the_terminal_as_a_command(
    world: World, directory: Directory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.hosts["pds.test"] = (200, json.dumps({"records": [{"value": {"text": "a\x1b[2J\rb\u202e"}}]}))
    write_json_file(tmp_path / "bluesky-app.json", OAuth2App("id", None, f"{PDS}/a", f"{PDS}/t").to_dict())
    write_json_file(tmp_path / "bluesky-user.json", OAuth2User("token", extra={"sub": ALICE, "pds": PDS}).to_dict())
    await bluesky.main(["posts"], directory, tmp_path)
    assert capsys.readouterr().out.rstrip("\n").isprintable()
