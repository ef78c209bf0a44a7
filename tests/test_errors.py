"""The family of errors: what a caller may rely on."""
from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI import errors
from SlyAPI.errors import (
    ApiError,
    ConfigError,
    CredentialsError,
    CredentialsNotFoundError,
    DeniedError,
    GrantEndedError,
    NetworkError,
    SaveError,
    SlyError,
    TokenError,
    printable,
)
from SlyAPI.web import Reply

CLASSES: list[type[SlyError]] = [
    value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, SlyError)
]


def made(error: type[SlyError]) -> SlyError:
    making: Any = error
    if "extra" in inspect.signature(error).parameters:
        return making("A store", "redis")  # type: ignore[no-any-return]
    if issubclass(error, TokenError):
        return making(400, "code", "told", message="It went wrong.", next_step="Do this.")  # type: ignore[no-any-return]
    if issubclass(error, ApiError):
        return making(400, "told", message="It went wrong.", next_step="Do this.")  # type: ignore[no-any-return]
    if issubclass(error, DeniedError):
        return making("It went wrong.", error="access_denied", next_step="Do this.")  # type: ignore[no-any-return]
    return making("It went wrong.", next_step="Do this.")  # type: ignore[no-any-return]


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_says_what_happened_what_to_do_and_what_helps(error: type[SlyError]) -> None:
    one = made(error)
    assert str(one) == f"{one.args[0]} {one.next_step}"
    assert str(one) == "It went wrong. Do this." or "extra" in inspect.signature(error).parameters
    assert one.kind in ("transient", "permanent", "configuration")
    assert isinstance(one, SlyError)
    assert error is SlyError or error.__name__.endswith("Error")
    assert inspect.getdoc(error)


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_can_be_copied_and_sent_to_another_process(error: type[SlyError]) -> None:
    one = made(error)
    for other in (copy.copy(one), pickle.loads(pickle.dumps(one))):
        assert type(other) is error
        assert str(other) == str(one)
        assert vars(other) == vars(one)


@pytest.mark.parametrize(
    ("ours", "builtin"),
    [
        (ConfigError, ValueError),
        (CredentialsError, ValueError),
        (CredentialsNotFoundError, FileNotFoundError),
        (SaveError, OSError),
        (errors.RequestTimeoutError, TimeoutError),
        (errors.GrantTimeoutError, TimeoutError),
        (errors.WouldOverwriteError, FileExistsError),
    ],
)
def test_an_error_is_also_the_builtin_that_it_is_like(ours: type[SlyError], builtin: type[Exception]) -> None:
    assert issubclass(ours, builtin)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "permanent"), (404, "permanent"), (408, "transient"), (429, "transient"), (500, "transient")],
)
def test_an_api_error_is_transient_where_trying_again_may_help(status: int, kind: str) -> None:
    assert ApiError(status).kind == kind
    assert ApiError(status, kind="configuration").kind == "configuration"
    assert str(status) in str(ApiError(status))


def test_an_api_error_has_headers_with_and_without_a_reply() -> None:
    assert ApiError(400).headers == {}
    assert ApiError(400, None, Reply(400, {"A": "b"}, b"")).headers == {"A": "b"}


def test_an_ended_grant_is_permanent_and_a_broken_network_is_not() -> None:
    assert GrantEndedError(400, "invalid_grant", message="x").kind == "permanent"
    assert NetworkError("x").kind == "transient"


@given(st.text(), st.text(), st.text())
def test_a_message_has_no_control_character_and_an_end(one: str, two: str, three: str) -> None:
    for error in (SlyError(one * 50, next_step=two * 50), ApiError(500, three * 500), DeniedError(one, error=two)):
        assert str(error).isprintable()
        assert len(str(error)) <= 4096


@pytest.mark.parametrize("text", ["a\r\nb", "a\x1b[31mb", "a\u2028b", "a\x00b", "a\x9bb", "a\u202eb", "a\ud800b"])
def test_printable_text_is_one_line_without_control_characters(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(text)[0] + printable(text)[-1] == "ab"


def test_printable_text_is_cut_where_it_is_long() -> None:
    assert printable("x" * 300) == "x" * 300
    assert printable("x" * 301) == "x" * 297 + "..."
    assert len(printable("x" * 10**7, 10)) == 10


async def test_the_misspelled_constructor_of_0_6_makes_the_error(serve: Any) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=418, text="a teapot")

    server = await serve(refuse)
    async with aiohttp.ClientSession() as session, session.get(server.origin) as response:
        error = await ApiError.from_resposnse(response)
    assert (error.status, error.reason) == (418, "a teapot")
    with pytest.raises(ApiError, match="418"):
        raise error
