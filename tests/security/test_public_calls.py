"""Every public call of the library, generated: whatever it ends in shows no secret, tracebacks with locals included."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.echoing_server import SHAPES, echoing
from tests.support.public_calls import PAGES, Call, Place, found_calls, outcome
from tests.support.secret_search import OURS, shows_nothing

LEFT_OUT = {
    "SlyAPI:requires_scopes": "decorates a method, and is given none",
    "OAuth2ServiceAccount": "needs an RSA key; oauth2/test_service_account.py has it",
    "Request": "its send gives aiohttp's own errors",
    "oauth2:requires_scopes": "as above",
    **dict.fromkeys(("AsyncTrans", "AsyncLazy"), "made of a generator of the caller's"),
    **dict.fromkeys(("Auth", "NoAuth", "TokenStore", "Challenge", "Method", "Reply"), "plain, or abstract"),
    **dict.fromkeys(("AccessToken", "Identity", "LogoutToken", "TokenInfo"), "plain"),
    **dict.fromkeys(("BrowserConsent", "oauth2:browser_consent"), "listen; oauth2/test_native_login.py has them"),
    **dict.fromkeys(("Clock", "PracticeProvider", "Seen", "testing:keep", "testing:kept_provider"), "for tests"),
    **dict.fromkeys(("flow:grant_wizard", "flow:scaffold_wizard"), "ask a person; test_secrets_cli.py has them"),
    **dict.fromkeys(("params:as_form", "params:as_pairs", "params:as_query"), "given a form, and give it back"),
    **{f"{type(pages).__name__}.after": "called by a walk; test_secrets.py has it" for pages in PAGES},
    "Page.value": "given a page by its method `after`",
    **dict.fromkeys(("Pages", "asyncy:unmanage_async_context"), "abstract, or a context of the caller's"),
    **dict.fromkeys(("KeyringStore", "PostgresStore", "RedisStore"), "test_secrets_of_servers.py has them"),
}
"""Names, and the beginnings of names of methods, with the reason."""
TELLING = [
    *("described", "described with 401", "as a page with 200", "as half a JSON", "as a token that cannot be sent"),
    *("in headers", "in a redirect", "cut short", "in a head that is none", "in a header that is none"),
]
"""The shapes of replies that end in errors of different classes, or whose errors hold a parser's."""


def is_left_out(name: str) -> bool:
    return name in LEFT_OUT or name.partition(".")[0] in LEFT_OUT


OPEN: dict[str, str] = {}
"""What the test of arguments finds and is not fixed yet."""
CALLS = [Call(name, function) for name, function in found_calls().items() if not is_left_out(name)]


async def made(call: Callable[[], Any]) -> None:
    await outcome(call())


def with_open_findings(call: Call) -> Any:
    marks = [pytest.mark.xfail(strict=True, reason=OPEN[call.name])] if call.name in OPEN else []
    return pytest.param(call, marks=marks, id=call.name)


@pytest.mark.parametrize("call", [with_open_findings(call) for call in CALLS])
async def test_no_argument_of_a_public_call_makes_it_show_a_secret(call: Call, tmp_path: Path) -> None:
    async with echoing(SHAPES["described with 401"]) as server:
        for variant in call.variants(Place(server.origin, tmp_path)):
            await shows_nothing(made(variant), kept=OURS)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
async def test_no_reply_to_a_public_call_makes_it_show_a_secret(call: Call, tmp_path: Path) -> None:
    for shape in TELLING:
        async with echoing(SHAPES[shape]) as server:
            sound = next(call.variants(Place(server.origin, tmp_path)))
            await shows_nothing(made(sound), kept=OURS)
            if not server.sent:
                break


class AwayError(Exception):
    """What a program's own key raises, as the client of a KMS does."""


def away(data: bytes) -> bytes:
    raise AwayError("the key is away")


WITH_A_CLIENT = ("OAuth2App.", "OAuth2.", "ClientCredentials.", "TokenExchange.", "AssertionGrant.")
NEED_THE_KEY = {"OAuth2App.exchange_code", "OAuth2App.finish_login", "OAuth2App.refresh", "OAuth2App.introspect"}


@pytest.mark.parametrize(
    "call", [call for call in CALLS if call.name.startswith(WITH_A_CLIENT)], ids=lambda call: call.name
)
async def test_no_key_that_fails_makes_a_public_call_show_a_secret(call: Call, tmp_path: Path) -> None:
    async with echoing(SHAPES["described"]) as server:
        sound = next(call.variants(Place(server.origin, tmp_path, away)))
        error = await shows_nothing(made(sound), kept=OURS)
    assert call.name not in NEED_THE_KEY or isinstance(error, AwayError)


def test_what_is_left_out_is_there_to_be_left_out() -> None:
    assert LEFT_OUT.keys() <= found_calls().keys()
