"""OAuth2ServiceAccount against a token endpoint judged by PyJWT: what it states, how often, and what fails."""

from __future__ import annotations

import asyncio
import gc
import json
import pickle
import subprocess
import sys
import threading
from base64 import urlsafe_b64decode
from collections.abc import AsyncGenerator, Callable
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from SlyAPI import ApiError, OAuth2ServiceAccount, TokenError, WebAPI
from SlyAPI.errors import BadReplyError, ConfigError, CredentialsError, CredentialsNotFoundError, SlyError
from SlyAPI.oauth2 import ServiceAccount
from SlyAPI.web import Method, Request
from tests.support.account_judge import EMAIL, AccountJudge, new_key, pem, refused
from tests.support.secret_search import Kept, texts_of, told_by

if TYPE_CHECKING:
    from tests.conftest import Clock

KEY = new_key()
SECRETS = Kept({"private key": pem(KEY).splitlines()[5], "its end": pem(KEY).splitlines()[-2][:24]})


@pytest.fixture
async def judge(clock: Clock) -> AsyncGenerator[AccountJudge, None]:
    async with AccountJudge(KEY, clock).running() as running:
        yield running


def auth_of(judge: AccountJudge, *scopes: str, **more: Any) -> OAuth2ServiceAccount:
    return OAuth2ServiceAccount(judge.key_file(), list(scopes) or ["sheets"], **{"clock": judge.clock, **more})


def api_of(judge: AccountJudge, auth: OAuth2ServiceAccount) -> WebAPI:
    api = WebAPI(auth)
    api.base_url = judge.origin
    return api


def shows_no_secret(error: BaseException, judge: AccountJudge) -> None:
    texts = [*told_by(error)]
    SECRETS.assert_hidden(texts)
    for form in judge.forms:
        parts = form.get("assertion", "").split(".")
        assert not any(part in text for text in texts for part in (parts[-1], ".".join(parts)) if part)


# What it states.


async def test_the_assertion_states_who_asks_for_what_and_is_signed_with_the_key(
    judge: AccountJudge, clock: Clock
) -> None:
    api = api_of(judge, auth_of(judge, "https://scopes.example/sheets", "drive"))
    assert await api.get_json("/x") == {"as": EMAIL, "scope": "https://scopes.example/sheets drive"}
    (stated,) = judge.stated  # which has been verified
    assert stated == {
        "iss": EMAIL,
        "scope": "https://scopes.example/sheets drive",
        "aud": f"{judge.origin}/token",
        "iat": int(clock()) - 60,  # for a provider whose clock is behind
        "exp": int(clock()) - 60 + 3600,
    }
    assert judge.headers == [{"alg": "RS256", "typ": "JWT", "kid": "key-1"}]
    assert set(judge.forms[0]) == {"grant_type", "assertion"}


async def test_a_key_without_an_id_and_no_scopes_leave_out_kid_and_scope(judge: AccountJudge) -> None:
    key_file = judge.key_file()
    del key_file["private_key_id"]
    await api_of(judge, OAuth2ServiceAccount(key_file, [], clock=judge.clock)).get_json("/x")
    assert judge.headers == [{"alg": "RS256", "typ": "JWT"}]
    assert set(judge.stated[0]) == {"iss", "aud", "iat", "exp"}


async def test_a_subject_is_who_the_account_acts_as(judge: AccountJudge) -> None:
    api = api_of(judge, auth_of(judge, subject="robin@domain.example"))
    assert (await api.get_json("/x"))["as"] == "robin@domain.example"
    assert judge.stated[0]["iss"] == EMAIL


async def test_path_object_and_the_files_json_are_the_same_account(judge: AccountJudge, tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(judge.key_file()))
    given: list[Any] = [path, str(path), judge.key_file(), ServiceAccount.from_json_file(path)]
    auths = [OAuth2ServiceAccount(one, ["sheets"], clock=judge.clock) for one in given]
    for auth in auths:
        assert (await api_of(judge, auth).get_json("/x"))["as"] == EMAIL
    assert len({auth.account for auth in auths}) == len(judge.forms) == 1


async def test_a_key_whose_line_breaks_are_escaped_is_read(judge: AccountJudge) -> None:
    key_file = judge.key_file(private_key=pem(KEY).replace("\n", "\\n"))
    assert await api_of(judge, OAuth2ServiceAccount(key_file, ["a"], clock=judge.clock)).get_json("/x")


@pytest.mark.parametrize("way", ["function", "coroutine function", "in the file's object"])
async def test_the_key_need_not_be_in_the_process(judge: AccountJudge, way: str) -> None:
    asked: list[bytes] = []

    def sign(data: bytes) -> bytes:
        asked.append(data)
        return KEY.sign(data, PKCS1v15(), SHA256())

    async def elsewhere(data: bytes) -> bytes:
        return sign(data)

    key = elsewhere if way == "coroutine function" else sign
    account: Any = ServiceAccount(EMAIL, "", key, "", f"{judge.origin}/token", "k")
    if way == "in the file's object":
        account = judge.key_file(private_key=sign, private_key_id="k")
    auths = [OAuth2ServiceAccount(account, ["sheets"], clock=judge.clock) for _ in range(2)]
    for auth in auths:
        assert (await api_of(judge, auth).get_json("/x"))["as"] == EMAIL
    assert judge.headers == [{"alg": "RS256", "typ": "JWT", "kid": "k"}]
    assert len(asked) == 1


async def test_a_key_that_is_elsewhere_names_its_algorithm(judge: AccountJudge) -> None:
    key_file = judge.key_file(private_key=lambda data: b"a signature", key_alg="PS256")
    with pytest.raises(TokenError):
        await api_of(judge, OAuth2ServiceAccount(key_file, ["a"], clock=judge.clock)).get_json("/x")
    head = judge.forms[0]["assertion"].partition(".")[0]
    assert json.loads(urlsafe_b64decode(head + "=="))["alg"] == "PS256"
    with pytest.raises(ConfigError, match="key"):
        OAuth2ServiceAccount(judge.key_file(key_alg="none"), ["a"])


# How often.


@pytest.mark.parametrize("calls", [1, 10, 100])
async def test_ten_calls_at_once_make_one_grant(judge: AccountJudge, calls: int) -> None:
    api = api_of(judge, auth_of(judge))
    answers = await asyncio.gather(*(api.get_json("/x") for _ in range(calls)))
    assert answers == [{"as": EMAIL, "scope": "sheets"}] * calls
    assert len(judge.forms) == 1


async def test_objects_of_one_account_share_a_token_where_scopes_and_subject_are_the_same(judge: AccountJudge) -> None:
    same = [auth_of(judge, "a", "b"), auth_of(judge, "b", "a")]
    others = [auth_of(judge, "a"), auth_of(judge, "a", "b", subject="robin"), auth_of(judge, "a", subject="robin")]
    await asyncio.gather(*(api_of(judge, auth).get_json("/x") for auth in [*same, *others] * 2))
    assert len(judge.forms) == 4


@pytest.mark.parametrize("order", [*permutations(range(3))])
async def test_objects_of_one_account_share_a_token_whichever_of_them_the_program_lets_go(
    judge: AccountJudge, order: tuple[int, ...]
) -> None:
    alive = {number: auth_of(judge) for number in range(3)}
    async with api_of(judge, auth_of(judge)) as api:
        await api.get_json("/me")
    del api
    for gone in order:
        gc.collect()
        async with api_of(judge, auth_of(judge)) as api:
            await api.get_json("/me")
        del api, alive[gone]
    assert len(judge.forms) == 1


@pytest.mark.parametrize(("lifetime", "leeway"), [(100.0, 10.0), (10.0, 1.0), (3600.0, 30.0)])
async def test_a_token_is_renewed_a_tenth_of_its_life_before_its_end_but_30_s_at_most(
    judge: AccountJudge, clock: Clock, lifetime: float, leeway: float
) -> None:
    judge.lifetime = lifetime
    api = api_of(judge, auth_of(judge))
    await api.get_json("/x")
    clock.now += lifetime - leeway - 0.01
    await api.get_json("/x")
    assert len(judge.forms) == 1
    clock.now += 0.02
    await asyncio.gather(*(api.get_json("/x") for _ in range(10)))
    assert len(judge.forms) == 2
    assert judge.stated[1]["iat"] == int(clock()) - 60


async def test_a_401_on_a_good_token_costs_one_grant_and_one_repeat(judge: AccountJudge) -> None:
    api = api_of(judge, auth_of(judge))
    await api.get_json("/x")
    judge.tokens.clear()
    judge.tokens["token-0"] = (0.0, {})  # so that the next has another name
    await asyncio.gather(*(api.get_json("/x") for _ in range(10)))
    assert len(judge.forms) == 2


async def test_a_new_token_that_is_refused_too_is_the_callers_error(judge: AccountJudge) -> None:
    judge.lifetime = 0.0
    judge.answer = lambda request, form: web.json_response({"access_token": f"no-{len(judge.forms)}", "expires_in": 9})
    with pytest.raises(ApiError) as caught:
        await api_of(judge, auth_of(judge)).get_json("/x")
    assert (caught.value.status, len(judge.forms)) == (401, 1)


def test_one_object_works_in_one_loop_after_another_and_in_threads(clock: Clock) -> None:
    judge = AccountJudge(KEY, clock)
    begun, over = threading.Event(), threading.Event()

    async def serve() -> None:
        async with judge.running():
            begun.set()
            while not over.is_set():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    server = threading.Thread(target=asyncio.run, args=[serve()])
    server.start()
    try:
        assert begun.wait(30)
        judge.delay = lambda: asyncio.sleep(0.05)
        auth = auth_of(judge)
        call: Callable[[], None] = lambda: asyncio.run(many(api_of(judge, auth)))  # noqa: E731
        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(judge.forms) == 1
        clock.now += 1000
        call()
        assert len(judge.forms) == 2
    finally:
        over.set()
        server.join()


async def many(api: WebAPI) -> None:
    await asyncio.gather(*(api.get_json("/x") for _ in range(5)))


async def test_a_caller_that_is_cancelled_leaves_the_grant_to_the_others(judge: AccountJudge) -> None:
    held = asyncio.Event()
    judge.delay = held.wait
    api = api_of(judge, auth_of(judge))
    first, *others = [asyncio.create_task(api.get_json("/x")) for _ in range(4)]
    while not judge.forms:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    first.cancel()
    held.set()
    assert await asyncio.gather(*others) == [{"as": EMAIL, "scope": "sheets"}] * 3
    assert len(judge.forms) == 1


async def test_it_is_a_client_middleware_too(judge: AccountJudge, clock: Clock) -> None:
    async with aiohttp.ClientSession(middlewares=(auth_of(judge),)) as session:
        for _ in range(2):
            async with session.get(f"{judge.origin}/x") as answer:
                assert (await answer.json())["as"] == EMAIL
        judge.tokens = {"another": (0.0, {})}
        async with session.get(f"{judge.origin}/x") as answer:
            assert answer.status == 200
    assert len(judge.forms) == 2


# What fails.

REFUSALS = [
    ("invalid_grant", "", "configuration", "clock"),
    ("invalid_grant", "robin", "configuration", "subject"),
    ("unauthorized_client", "", "configuration", "console"),
    ("unauthorized_client", "robin", "configuration", "domain-wide delegation"),
    ("access_denied", "robin", "configuration", "domain-wide delegation"),
    ("invalid_scope", "", "configuration", "scopes"),
    ("no_such_code", "", "configuration", "console"),
    ("temporarily_unavailable", "", "transient", "later"),
]


@pytest.mark.parametrize(("error", "subject", "kind", "step"), REFUSALS)
async def test_a_refused_grant_says_what_helps_to_all_who_wait_and_the_next_call_asks_again(
    judge: AccountJudge, error: str, subject: str, kind: str, step: str
) -> None:
    judge.answer = lambda request, form: refused(error, " signed ".join(form["assertion"].rpartition(".")))
    api = api_of(judge, auth_of(judge, subject=subject or None))
    answers = await asyncio.gather(*(api.get_json("/x") for _ in range(10)), return_exceptions=True)
    assert len(judge.forms) == 1
    for told in answers:
        assert isinstance(told, TokenError)
        assert (told.error, told.kind) == (error, kind)
        assert step in told.next_step
        assert "python -m SlyAPI grant" not in str(told)
        shows_no_secret(told, judge)
    judge.answer = lambda request, form: None
    assert await api.get_json("/x")


@pytest.mark.parametrize(
    ("status", "body", "kind", "step"),
    [
        (404, "", "configuration", "token_uri in the key file"),
        (401, "", "configuration", "key file"),
        (302, "", "configuration", "final address"),
        (503, "", "transient", "later"),
        (200, "<html>", "transient", "token_uri in the key file"),
        (200, '{"access_token": ""}', "transient", "token_uri in the key file"),
        (200, '{"access_token": "t", "token_type": "mac"}', "configuration", "token_uri"),
    ],
)
async def test_what_is_no_token_is_an_error_of_ours(
    judge: AccountJudge, status: int, body: str, kind: str, step: str
) -> None:
    judge.answer = lambda request, form: web.Response(status=status, text=body + form["assertion"] * (status >= 400))
    with pytest.raises(SlyError) as caught:
        await api_of(judge, auth_of(judge)).get_json("/x")
    assert isinstance(caught.value, TokenError | BadReplyError)
    assert caught.value.kind == kind
    assert step in caught.value.next_step
    shows_no_secret(caught.value, judge)


async def test_a_server_that_is_out_of_order_is_borne_while_the_token_is_good(
    judge: AccountJudge, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    api = api_of(judge, auth_of(judge))
    await api.get_json("/x")
    clock.now += 95
    judge.answer = lambda request, form: web.Response(status=503)
    assert await api.get_json("/x")
    assert "still valid" in caplog.text
    clock.now += 6
    with pytest.raises(TokenError):
        await api.get_json("/x")


async def test_the_key_of_another_account_is_refused(judge: AccountJudge) -> None:
    key_file = judge.key_file(private_key=pem(new_key()))
    with pytest.raises(TokenError, match="Signature verification failed") as caught:
        await api_of(judge, OAuth2ServiceAccount(key_file, ["a"], clock=judge.clock)).get_json("/x")
    assert (caught.value.error, caught.value.kind) == ("invalid_grant", "configuration")


@pytest.mark.parametrize("off", [7200.0, -7200.0])
async def test_a_machine_whose_clock_is_wrong_dates_its_assertion_by_the_providers(
    judge: AccountJudge, clock: Clock, off: float
) -> None:
    api = api_of(judge, auth_of(judge, clock=lambda: clock() + off))
    assert await api.get_json("/x")
    assert len(judge.forms) == 2
    clock.now += 95
    assert await api.get_json("/x")
    assert len(judge.forms) == 3
    assert judge.stated[-1]["iat"] == pytest.approx(clock() - 60, abs=2)


def encrypted(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode())


def elliptic() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    "key",
    [pem(KEY)[:400], encrypted(KEY), elliptic(), pem(KEY).splitlines()[5], 5, "-----BEGIN PRIVATE KEY-----"],
    ids=["cut short", "encrypted", "elliptic", "one line", "number", "first line"],
)
def test_a_private_key_that_cannot_be_used_is_not_shown(key: Any, clock: Clock) -> None:
    judge = AccountJudge(KEY, clock, origin="https://provider.example")
    with pytest.raises(ConfigError, match="private_key") as caught:
        OAuth2ServiceAccount(judge.key_file(private_key=key), ["a"])
    shows_no_secret(caught.value, judge)


WRONG = [
    ({"installed": {"client_id": "1", "client_secret": "s"}}, "Google's client file"),
    ({"type": "authorized_user", "refresh_token": "s"}, "application-default credentials"),
    ({"type": "external_account", "token_url": "s"}, "without a private key"),
    ({"token": "s", "expires_at": None}, "a user file of SlyAPI"),
    ({"id": "1", "secret": "s", "auth_uri": "a", "token_uri": "t"}, "a client file"),
    ({"key": "k", "secret": "s"}, "an OAuth 1 user file"),
    ({}, "an empty JSON object"),
    ([], "not a JSON object"),
    ({"type": "service_account", "client_email": "e", "private_key": pem(KEY)}, "token_uri missing"),
    ({"type": "service_account"}, "client_email, private_key, token_uri missing"),
    ({"client_email": 5, "private_key": pem(KEY), "token_uri": "https://p.example"}, "client_email is not a string"),
    ({"client_email": "e", "private_key": pem(KEY), "token_uri": "javascript:x"}, "token_uri is not an https URL"),
]


@pytest.mark.parametrize(("content", "named"), WRONG)
def test_a_file_that_is_something_else_is_named_for_what_it_is(content: Any, named: str, tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(content))
    gives: list[Callable[[], object]] = [lambda: OAuth2ServiceAccount(path, ["a"])]
    gives += [lambda: OAuth2ServiceAccount(content, ["a"]), lambda: ServiceAccount.from_json_obj(content)]
    for give in gives:
        with pytest.raises(CredentialsError, match=named.replace("(", r"\(")) as caught:
            give()
        SECRETS.assert_hidden(told_by(caught.value))


def test_no_file_is_file_not_found_and_content_is_no_path(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(CredentialsNotFoundError):
        OAuth2ServiceAccount(tmp_path / "none.json", ["a"])
    judge = AccountJudge(KEY, clock, origin="https://provider.example")
    text = json.dumps(judge.key_file())
    gives: list[Callable[[], object]] = [lambda: OAuth2ServiceAccount(text, ["a"])]
    gives += [lambda: OAuth2ServiceAccount(pem(KEY), ["a"]), lambda: ServiceAccount.from_json_file(text)]
    for give in gives:
        with pytest.raises(CredentialsError, match="not as a path") as caught:
            give()
        SECRETS.assert_hidden(told_by(caught.value))


def test_a_key_goes_nowhere_over_plain_http(clock: Clock) -> None:
    with pytest.raises(ConfigError, match="plain http"):
        auth_of(AccountJudge(KEY, clock, origin="http://provider.example"))


async def test_nothing_prints_the_key_or_a_token(judge: AccountJudge) -> None:
    auth = auth_of(judge, subject="robin")
    await auth.sign(None, Request(Method.GET, judge.origin))
    assert repr(auth) == (
        f"OAuth2ServiceAccount(ServiceAccount('{EMAIL}', private_key='***'), ['sheets'], subject='robin')"
    )
    texts = [*texts_of(auth), *texts_of(auth.account), *texts_of(vars(auth))]
    SECRETS.assert_hidden(texts)
    Kept({"token": "token-1", "signature": judge.forms[0]["assertion"][-40:]}).assert_hidden(texts)


def test_an_account_can_be_pickled_for_another_process(clock: Clock) -> None:
    account = ServiceAccount.from_json_obj(AccountJudge(KEY, clock, origin="https://p.example").key_file())
    assert pickle.loads(pickle.dumps(account)) == account


WITHOUT = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("cryptography", "jwt"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
from SlyAPI import OAuth2ServiceAccount
from SlyAPI.errors import MissingExtraError
from SlyAPI.oauth2 import ServiceAccount
account = ServiceAccount("a@p.example", "1", "-----BEGIN", "", "https://p.example/token")
try:
    OAuth2ServiceAccount(account, ["a"])
except MissingExtraError as error:
    print(error)
"""


def test_without_the_extra_the_import_works_and_the_error_names_it() -> None:
    ran = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "Signed tokens need the package joserfc. Install it with: pip install joserfc\n"
