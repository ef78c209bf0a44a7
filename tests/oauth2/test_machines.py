"""Tokens without a person: client credentials, exchange, assertions; as calls, and as an auth that keeps them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from SlyAPI import AssertionGrant, Auth, ClientCredentials, OAuth2App, OAuth2User, TokenExchange, WebAPI, sources
from SlyAPI.errors import BadReplyError, ConfigError, CredentialsError, SlyError, TokenError
from SlyAPI.stores import MemoryStore
from SlyAPI.testing import GRANT_TYPES
from SlyAPI.web import Method, Request
from tests.testing.signing import ClientKey

if TYPE_CHECKING:
    from tests.conftest import Clock, Practice, Practise, Serve

IDP = "https://idp.example"
ONE = "https://api.example/one"


async def machine(practise: Practise, **settings: Any) -> Practice:
    return await practise(**{"grant_types": GRANT_TYPES, "resources": [ONE], **settings})


def asked(practice: Practice) -> list[str]:
    """The grant types of the token requests, in order."""
    return [seen.parameters.get("grant_type", "") for seen in practice.provider.log if seen.endpoint == "token"]


def api_of(practice: Practice, auth: Auth) -> WebAPI:
    api = WebAPI(auth)
    api.base_url = practice.provider.api_url
    return api


def assertion_for(practice: Practice, key: ClientKey, **changes: Any) -> str:
    now = int(practice.clock())
    claims = {"iss": IDP, "sub": "robot", "aud": practice.provider.token_url, "iat": now, "exp": now + 300}
    return key.sign({**claims, "jti": f"{len(practice.provider.log)}-{now}", **changes})


# --- client credentials ---


async def test_a_program_has_a_token_of_its_own_which_is_renewed_when_it_is_due(practise: Practise) -> None:
    practice = await machine(practise)
    auth = ClientCredentials(practice.app, ["notes"], clock=practice.clock)
    async with api_of(practice, auth) as api:
        await asyncio.gather(*(api.get_json("/notes") for _ in range(20)))
        assert asked(practice) == ["client_credentials"]
        practice.clock.now += 89
        await api.get_json("/notes")
        assert len(asked(practice)) == 1
        practice.clock.now += 2
        await asyncio.gather(*(api.get_json("/notes") for _ in range(20)))
        assert asked(practice) == ["client_credentials"] * 2
    assert auth.user.scopes == ["notes"]
    assert auth.user.refresh_token is None


@pytest.mark.parametrize("place", ["file", "entry"])
async def test_one_token_serves_all_workers_and_survives_restarts(practise: Practise, place: str) -> None:
    practice = await machine(practise)
    store = MemoryStore()
    where: Any = practice.folder / "machine.json" if place == "file" else store.user("machine")
    workers = [ClientCredentials(practice.app, ["notes"], where, clock=practice.clock) for _ in range(5)]
    async with api_of(practice, workers[0]) as api:
        await asyncio.gather(*(worker.sign(None, _request(api)) for worker in workers))
        assert len(asked(practice)) == 1
        practice.clock.now += 95
        await asyncio.gather(*(worker.sign(None, _request(api)) for worker in workers))
        assert len(asked(practice)) == 2
        assert len({worker.user.token for worker in workers}) == 1
    restarted = ClientCredentials(practice.app, ["notes"], where, clock=practice.clock)
    async with api_of(practice, restarted) as api:
        await api.get_json("/notes")
    assert len(asked(practice)) == 2


def _request(api: WebAPI) -> Any:
    from SlyAPI.web import Method, Request

    return Request(Method.GET, str(api.base_url))


@pytest.mark.parametrize(
    "changed",
    [{"scopes": ["notes", "weather.read"]}, {"scopes": ["notes"], "resource": ONE}],
    ids=["scopes", "resource"],
)
async def test_a_stored_token_for_something_else_is_not_used(practise: Practise, changed: dict[str, Any]) -> None:
    practice = await machine(practise)
    where = practice.folder / "machine.json"
    auth = ClientCredentials(practice.app, ["notes"], where, clock=practice.clock)
    await auth.refresh_now()
    again = ClientCredentials(practice.app, user=where, clock=practice.clock, **changed)
    assert (await again.sign(None, _request(api_of(practice, again)))).headers["Authorization"]
    assert len(asked(practice)) == 2
    assert set(changed["scopes"]) == set(again.user.scopes)


QUESTIONS: dict[str, dict[str, Any]] = {
    "subject": {"subject": "another-subject"},
    "subject in a file": {"subject": Path("subject.txt")},
    "subject's kind": {"subject_token_type": "jwt"},
    "audience": {"audience": "https://two.example"},
    "actor": {"actor_token": "another-actor"},
    "kind": {"requested_token_type": "jwt"},
}


@pytest.mark.parametrize("differs", [*QUESTIONS, "nothing"])
@pytest.mark.parametrize("restart", [True, False])
async def test_another_question_is_another_token(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, differs: str, restart: bool
) -> None:
    forms: list[dict[str, Any]] = []

    async def token(request: web.Request) -> web.Response:
        forms.append(dict(await request.post()))
        kind = "urn:ietf:params:oauth:token-type:access_token"
        reply = {"access_token": f"token-{len(forms)}", "token_type": "Bearer", "issued_token_type": kind}
        return web.json_response({**reply, "expires_in": 3600})

    origin = (await serve(token)).origin
    monkeypatch.chdir(tmp_path)
    Path("subject.txt").write_text("one-subject")
    app = OAuth2App("machine", "s3cret", "", f"{origin}/token", scopes=[], client_auth="post")
    where = MemoryStore().user("machine")

    async def asks(**changed: Any) -> str:
        usual: dict[str, Any] = {"subject": "one-subject", "actor_token": "one-actor", "audience": "https://one.example"}
        auth = TokenExchange(app, user=where, **{**usual, **changed})
        if not restart:
            kept.append(auth)
        return (await auth.sign(None, Request(Method.GET, origin))).headers["Authorization"]

    kept: list[TokenExchange] = []
    first, again, other = await asks(), await asks(), await asks(**QUESTIONS.get(differs, {}))
    assert first == again
    assert (other == first) is (differs == "nothing")
    saved = json.dumps((await where.load()).to_dict())
    assert "one-subject" not in saved
    assert "one-actor" not in saved
    before = await where.load()
    before.extra = {name: value for name, value in (before.extra or {}).items() if name != "asked"}
    await where.save(before)  # as older versions did
    assert await asks() == f"Bearer {before.token}"


class Meanwhile(MemoryStore):
    """A store in which another program saves something just before our first save."""

    theirs: OAuth2User | None = None

    async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        if self.theirs is not None:
            theirs, self.theirs = self.theirs, None
            await self.user(name).save(theirs)
        await super().replace(name, old, new)


@pytest.mark.parametrize("before", [False, True])
async def test_a_token_for_something_else_that_was_saved_meanwhile_is_not_used(
    practise: Practise, before: bool
) -> None:
    practice = await machine(practise)
    store = Meanwhile()
    auth = ClientCredentials(practice.app, ["notes"], store.user("machine"), clock=practice.clock)
    if before:
        await auth.refresh_now()
        practice.clock.now += 1000
    store.theirs = OAuth2User("of-something-else", scopes=["weather.read"])
    async with api_of(practice, auth) as api:
        await api.get_json("/notes")
    assert (await store.user("machine").load()).token == auth.user.token
    assert len(asked(practice)) == 1 + before


async def test_a_call_may_narrow_the_resource_of_the_client(practise: Practise) -> None:
    practice = await machine(practise, resources=[ONE, "https://api.example/two"])
    practice.app.resource = [ONE, "https://api.example/two"]
    await practice.app.request_token("notes", now=practice.clock())
    await practice.app.request_token("notes", resource=ONE, now=practice.clock())
    sent = [seen.parameters["resource"] for seen in practice.provider.log]
    assert sent == [f"{ONE} https://api.example/two", ONE]


async def test_a_401_costs_one_new_token_and_one_repeat(practise: Practise) -> None:
    practice = await machine(practise)
    auth = ClientCredentials(practice.app, ["notes"], clock=practice.clock)
    async with api_of(practice, auth) as api:
        await api.get_json("/notes")
        practice.provider.revoke_access_tokens()
        await api.get_json("/notes")
    assert len(asked(practice)) == 2


@pytest.mark.parametrize("status", [429, 503])
async def test_a_refused_client_is_remembered_with_its_retry_after(practise: Practise, status: int) -> None:
    practice = await machine(practise)
    auth = ClientCredentials(practice.app, ["notes"], practice.folder / "machine.json", clock=practice.clock)
    practice.provider.fail_next("token", status, retry_after=60)
    for _ in range(3):
        with pytest.raises(TokenError) as caught:
            await auth.sign(None, _request(api_of(practice, auth)))
        assert caught.value.retry_after is not None
        assert 50 < caught.value.retry_after <= 60
    assert len(asked(practice)) == 1
    other = ClientCredentials(practice.app, ["notes"], practice.folder / "machine.json", clock=practice.clock)
    with pytest.raises(TokenError):
        await other.sign(None, _request(api_of(practice, other)))
    assert len(asked(practice)) == 1, "another object of the same file knows it too"


@pytest.mark.parametrize(
    ("settings", "scopes", "secret", "error"),
    [
        ({}, ["notes"], "wrong-secret-5EC9E7", "invalid_client"),
        ({}, ["unknown"], None, "invalid_scope"),
        ({"client_metadata": {"grant_types": ["authorization_code"]}}, ["notes"], None, "unauthorized_client"),
        ({"grant_types": ["authorization_code"]}, ["notes"], None, "unsupported_grant_type"),
    ],
)
async def test_a_refusal_names_what_to_change_and_no_grant_by_a_person(
    practise: Practise, settings: dict[str, Any], scopes: list[str], secret: str | None, error: str, told_by: Any
) -> None:
    practice = await machine(practise, **settings)
    practice.app.secret = secret or practice.app.secret
    auth = ClientCredentials(practice.app, scopes, clock=practice.clock)
    with pytest.raises(TokenError, match=error) as caught:
        await auth.sign(None, _request(api_of(practice, auth)))
    assert caught.value.kind == "configuration"
    assert caught.value.next_step
    assert "SlyAPI grant" not in caught.value.next_step
    assert practice.app.secret not in told_by(caught.value)


@pytest.mark.parametrize("method", ["basic", "post"])
async def test_the_client_authentication_that_works_is_found_and_kept_with_the_token(
    practise: Practise, method: Any
) -> None:
    practice = await machine(practise, client_auth=method)
    where = practice.folder / "machine.json"
    await ClientCredentials(practice.app, ["notes"], where, clock=practice.clock).refresh_now()
    assert json.loads(where.read_text())["client_auth"] == method
    app = OAuth2App.from_json_obj(practice.app.to_dict())
    before = len(asked(practice))
    practice.clock.now += 95
    await ClientCredentials(app, ["notes"], where, clock=practice.clock).refresh_now()
    assert len(asked(practice)) == before + 1


async def test_revoking_a_machines_token_ends_it_and_forgets_it(practise: Practise) -> None:
    practice = await machine(practise)
    practice.app.revoke_uri = practice.provider.revoke_url
    where = practice.folder / "machine.json"
    auth = ClientCredentials(practice.app, ["notes"], where, clock=practice.clock)
    await auth.refresh_now()
    await auth.revoke()
    assert not where.exists()


async def test_a_machine_without_a_token_has_nothing_to_revoke(practise: Practise) -> None:
    practice = await machine(practise)
    auth = ClientCredentials(practice.app, ["notes"], practice.folder / "machine.json", clock=practice.clock)
    await auth.revoke()
    assert not practice.provider.log


async def test_microsofts_offline_scope_is_not_asked_for_by_a_machine(serve: Serve) -> None:
    async def token(request: web.Request) -> web.Response:
        return web.json_response({"access_token": "t", "expires_in": 100, "scope": (await request.post())["scope"]})

    server = await serve(token)
    known = "https://login.microsoftonline.com/common/oauth2/v2.0/authorize"
    app = OAuth2App("c", "s", known, f"{server.origin}/token", client_auth="post")
    assert app.provider is not None
    assert (await app.request_token(["https://graph/.default"])).scopes == ["https://graph/.default"]


async def test_a_leeway_of_ones_own_moves_when_a_token_is_due(practise: Practise) -> None:
    practice = await machine(practise)
    none = ClientCredentials(practice.app, ["notes"], leeway=0, clock=practice.clock)
    usual = ClientCredentials(practice.app, ["notes"], clock=practice.clock)
    little = ClientCredentials(practice.app, ["notes"], leeway=2, clock=practice.clock)
    for auth in (none, usual, little):
        await auth.refresh_now()
    due: dict[int, tuple[bool, bool, bool]] = {}
    for second in (89, 91, 97, 99, 100):
        practice.clock.now += second - sum(due) if not due else second - max(due)
        due[second] = (none.due, little.due, usual.due)
    assert due == {
        89: (False, False, False),
        91: (False, False, True),
        97: (False, False, True),
        99: (False, True, True),
        100: (True, True, True),
    }


@pytest.mark.parametrize("leeway", [-1, float("nan"), float("inf")])
def test_a_leeway_that_is_not_a_number_of_seconds_is_refused(leeway: float) -> None:
    app = OAuth2App("c", "s", "", "https://p.example/t")
    with pytest.raises(ConfigError, match="leeway"):
        ClientCredentials(app, leeway=leeway)


# --- token exchange ---


async def test_a_token_is_exchanged_for_a_narrower_one(practise: Practise) -> None:
    practice = await machine(practise)
    user = await practice.grant()
    other = await practice.app.exchange_token(user.token, scopes="notes", resource=ONE, now=practice.clock())
    assert other.scopes == ["notes"]
    assert other.issued_token_type == "urn:ietf:params:oauth:token-type:access_token"
    assert (other.token_type, other.expires_at is not None) == ("Bearer", True)


async def test_an_exchange_may_act_for_somebody(practise: Practise) -> None:
    practice = await machine(practise, people=("Ada", "Bo"))
    subject, actor = await practice.grant(), await practice.grant()
    practice.app.introspect_uri = f"{practice.provider.origin}/introspect"
    user = await practice.app.exchange_token(
        subject.token, actor_token=actor.token, actor_token_type="access_token", now=practice.clock()
    )
    assert (await practice.app.introspect(user.token)).extra["act"]["sub"]


async def test_a_token_that_is_not_for_a_header_is_given_and_signs_nothing(practise: Practise) -> None:
    practice = await machine(practise, openid=True)
    subject = await practice.grant()
    more: dict[str, Any] = {"requested_token_type": "id-jag", "audience": "https://other.example"}
    practice.provider.resources = [ONE, "https://other.example"]
    user = await practice.app.exchange_token(subject.token, scopes="notes", now=practice.clock(), **more)
    assert user.token_type == "N_A"
    assert user.issued_token_type == "urn:ietf:params:oauth:token-type:id-jag"
    assert OAuth2User.from_json_obj(json.loads(json.dumps(user.to_dict()))) == user
    auth = TokenExchange(practice.app, subject.token, scopes=["notes"], clock=practice.clock, **more)
    with pytest.raises(BadReplyError, match="N_A"):
        await auth.sign(None, _request(api_of(practice, auth)))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"subject_token_type": "bearer"}, "token type"),
        ({"requested_token_type": "bearer"}, "token type"),
        ({"actor_token_type": "jwt"}, "actor_token"),
    ],
)
async def test_an_exchange_that_cannot_be_meant_sends_nothing(
    practise: Practise, more: dict[str, Any], said: str
) -> None:
    practice = await machine(practise)
    with pytest.raises(ConfigError, match=said):
        await practice.app.exchange_token("a-token", **more)
    assert not practice.provider.log


async def test_a_subject_token_that_is_refused_is_in_no_message(practise: Practise, told_by: Any) -> None:
    practice = await machine(practise)
    with pytest.raises(TokenError, match="invalid_request") as caught:
        await practice.app.exchange_token(
            "subject-token-5EC9E7", actor_token="actor-token-5EC9E7", now=practice.clock()
        )
    assert "5EC9E7" not in told_by(caught.value)
    assert asked(practice) == ["urn:ietf:params:oauth:grant-type:token-exchange"]


async def test_the_subject_is_read_again_whenever_a_new_token_is_needed(practise: Practise) -> None:
    practice = await machine(practise)
    granted = [await practice.grant()]
    times: list[float] = []

    async def subject() -> str:
        times.append(practice.clock())
        return granted[-1].token

    where = practice.folder / "exchanged.json"
    auth = TokenExchange(practice.app, subject, scopes=["notes"], user=where, clock=practice.clock)
    async with api_of(practice, auth) as api:
        await asyncio.gather(*(api.get_json("/notes") for _ in range(10)))
        practice.clock.now += 99
        granted.append(await practice.grant())
        await api.get_json("/notes")
    assert len(times) == 2
    restarted = TokenExchange(practice.app, subject, scopes=["notes"], user=where, clock=practice.clock)
    await restarted.sign(None, _request(api_of(practice, restarted)))
    assert len(times) == 2


# --- assertions ---


async def test_an_assertion_of_a_trusted_issuer_becomes_a_token(practise: Practise) -> None:
    key = ClientKey()
    practice = await machine(practise)
    practice.provider.trust_issuer(IDP, key.jwks)
    user = await practice.app.exchange_assertion(assertion_for(practice, key), "notes", now=practice.clock())
    assert user.scopes == ["notes"]


@pytest.mark.posix
async def test_a_refused_assertion_is_not_sent_again_and_a_new_one_is(practise: Practise, tmp_path: Path) -> None:
    key, stranger = ClientKey(), ClientKey()
    practice = await machine(practise)
    practice.provider.trust_issuer(IDP, key.jwks)
    file = tmp_path / "assertion"
    file.write_text(assertion_for(practice, stranger) + "\n")
    auth = AssertionGrant(practice.app, file, ["notes"], clock=practice.clock)
    async with api_of(practice, auth) as api:
        for _ in range(3):
            with pytest.raises(TokenError, match="invalid_grant"):
                await api.get_json("/notes")
        assert len(asked(practice)) == 1
        file.write_text(assertion_for(practice, key) + "\r\n")
        await api.get_json("/notes")
    assert asked(practice) == ["urn:ietf:params:oauth:grant-type:jwt-bearer"] * 2


async def test_a_refused_assertion_is_tried_by_no_other_client_authentication(practise: Practise) -> None:
    practice = await machine(practise)
    with pytest.raises(TokenError, match="invalid_grant"):
        await practice.app.exchange_assertion(assertion_for(practice, ClientKey()), now=practice.clock())
    assert len(asked(practice)) == 1


@pytest.mark.parametrize(
    "given", ["", lambda: "", lambda: None, lambda: b"token"], ids=["empty", "empty text", "None", "bytes"]
)
async def test_a_source_without_a_token_is_said_before_anything_is_sent(practise: Practise, given: Any) -> None:
    practice = await machine(practise)
    auth = AssertionGrant(practice.app, given, clock=practice.clock)
    with pytest.raises(ConfigError, match="assertion"):
        await auth.sign(None, _request(api_of(practice, auth)))
    assert not practice.provider.log


# --- where tokens come from ---


async def read(source: Callable[[], Any]) -> str:
    value = source()
    return str(await value if hasattr(value, "__await__") else value)


async def test_a_source_reads_an_environment_variable_a_file_and_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_TOKEN", "from-env")
    (tmp_path / "token").write_text("from-file\n")
    assert await read(sources.from_env("A_TOKEN")) == "from-env"
    assert await read(sources.from_file(tmp_path / "token")) == "from-file"
    assert await read(sources.kubernetes(tmp_path / "token")) == "from-file"
    assert await read(sources.from_command([sys.executable, "-c", "print('from-command')"])) == "from-command"


@pytest.mark.parametrize(
    "source",
    [
        sources.from_env("NOT_SET_ANYWHERE"),
        sources.from_file("no/such/file"),
        sources.kubernetes("no/such/file"),
        sources.github_actions("https://p.example"),
        sources.from_command(["no-such-program-5EC9E7"]),
        sources.from_command([sys.executable, "-c", "raise SystemExit(3)"]),
        sources.from_command([sys.executable, "-c", "print('two words')"]),
        sources.from_command([sys.executable, "-c", ""]),
        sources.from_command([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.2),
    ],
    ids=["env", "file", "kubernetes", "github", "no program", "fails", "two words", "nothing", "hangs"],
)
async def test_a_source_without_a_token_names_its_place(source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_URL", raising=False)
    with pytest.raises(CredentialsError) as caught:
        await read(source)
    assert "two words" not in str(caught.value)


async def test_an_event_loop_that_starts_no_programs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_programs(*_: object, **__: object) -> None:
        raise NotImplementedError  # as Windows' selector loop does

    monkeypatch.setattr(asyncio.get_running_loop(), "subprocess_exec", no_programs)
    with pytest.raises(ConfigError, match="event loop"):
        await read(sources.from_command(["a-program"]))


@pytest.mark.parametrize("argv", ["a string", []])
def test_a_command_is_a_list(argv: Any) -> None:
    with pytest.raises(ConfigError, match="list"):
        sources.from_command(argv)


async def test_github_actions_gives_a_token_for_an_audience(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.headers["Authorization"] != "Bearer request-token":
            return web.Response(status=401)
        return web.json_response({"value": f"for:{request.query['audience']}:{request.query['api']}"})

    server = await serve(answer)
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{server.origin}/token?api=2")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request-token")
    assert await read(sources.github_actions("sts")) == "for:sts:2"
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request-token-5EC9E7")
    with pytest.raises(SlyError) as caught:
        await read(sources.github_actions("sts"))
    assert "5EC9E7" not in str(caught.value)


# --- what shows ---


@pytest.mark.parametrize("kind", [ClientCredentials, TokenExchange, AssertionGrant])
async def test_an_auth_shows_neither_secret_nor_subject(practise: Practise, kind: Any, clock: Clock) -> None:
    practice = await machine(practise)
    given = ["subject-5EC9E7"] if kind is not ClientCredentials else []
    auth = kind(practice.app, *given, user=practice.folder / "machine.json", clock=clock)
    assert "5EC9E7" not in repr(auth)
    assert repr(auth).startswith(kind.__name__)
    assert kind.__module__ == "SlyAPI.oauth2"
