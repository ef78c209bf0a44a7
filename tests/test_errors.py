"""The family of errors: what a caller may rely on."""
from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import time
import traceback
import unicodedata
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
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
    clean_traceback,
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


BIDI = [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C]


@pytest.mark.parametrize("mark", BIDI, ids=hex)
def test_printable_text_has_no_bidirectional_mark(mark: int) -> None:
    """CVE-2021-42574: such marks make a line read otherwise than it is."""
    assert printable(f"a{chr(mark)}b") == "a b"
    assert chr(mark) not in str(SlyError(f"a{chr(mark)}b", next_step=f"c{chr(mark)}d"))


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("\r\n\x1b\x85\u2028\u202e\ud800")), st.integers(3, 400))
def test_any_text_becomes_one_bounded_line(text: str, longest: int) -> None:
    shown = printable(text, longest)
    assert shown.isprintable()
    assert len(shown) <= longest
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_printable_text_takes_no_longer_for_hostile_text() -> None:
    begun = time.process_time()
    for part in ("\x1b[2J", "\u202e", " ", "\ud800", "a\n"):
        assert len(printable(part * 5_000_000)) <= 300
    assert time.process_time() - begun < 20  # a guard against hours, not a measure


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


# --- the boundary that cleans tracebacks ---

SECRET = "s3cret-in-a-frame"


def raises(error: BaseException) -> None:
    """Raises in a frame that counts as the library's, behind one that handled another error."""
    namespace = {"__name__": "SlyAPI.example", "error": error, "secret": SECRET}
    code = (
        "def handled():\n"
        "    local = secret\n"
        "    raise KeyError(local)\n"
        "def fails():\n"
        "    local = secret\n"
        "    try:\n"
        "        handled()\n"
        "    except KeyError:\n"
        "        raise error\n"
    )
    exec(code, namespace)
    namespace["fails"]()  # type: ignore[operator]


@clean_traceback
def plain(error: BaseException) -> str:
    """A function."""
    raises(error)
    return "done"


@clean_traceback
async def coroutine(error: BaseException) -> str:
    """A coroutine function."""
    raises(error)
    return "done"


@clean_traceback
async def generator(error: BaseException) -> AsyncGenerator[int, None]:
    """An asynchronous generator function."""
    yield 1
    raises(error)


class Base:
    @clean_traceback
    async def call(self, error: BaseException) -> str:
        raises(error)
        return "done"

    @clean_traceback
    async def echo(self) -> AsyncGenerator[str, str]:
        received = yield "first"
        try:
            yield received
        finally:
            self.closed = True

    @asynccontextmanager
    @clean_traceback
    async def block(self) -> AsyncGenerator[int, None]:
        yield 1


class Derived(Base):
    async def call(self, error: BaseException, more: int = 0) -> str:
        return await super().call(error)


async def call_plain(error: BaseException) -> None:
    plain(error)


async def call_generator(error: BaseException) -> None:
    assert [item async for item in generator(error)] == [1]


CALLS: dict[str, Callable[[BaseException], Awaitable[Any]]] = {
    "plain": call_plain,
    "coroutine": coroutine,
    "generator": call_generator,
    "method": lambda error: Base().call(error),
    "overridden method": lambda error: Derived().call(error),
}


async def caught_from(call: Callable[[BaseException], Awaitable[Any]], error: BaseException) -> BaseException:
    with pytest.raises(type(error)) as caught:
        await call(error)
    assert caught.value is error
    return caught.value


def modules_in(error: BaseException) -> list[str]:
    return [str(frame.f_globals["__name__"]) for frame, _ in traceback.walk_tb(error.__traceback__)]


@pytest.mark.parametrize("kind", [ConfigError, asyncio.CancelledError, KeyboardInterrupt])
@pytest.mark.parametrize("call", CALLS)
async def test_an_error_leaves_without_the_librarys_frames_and_with_the_callers(
    call: str, kind: type[BaseException]
) -> None:
    caught = await caught_from(CALLS[call], kind("x"))
    assert set(modules_in(caught)) == {__name__}
    assert caught.__context__ is None
    assert SECRET not in "".join(told_by_traceback(caught))


def told_by_traceback(error: BaseException) -> list[str]:
    return list(traceback.TracebackException.from_exception(error, capture_locals=True).format())


@clean_traceback
async def calls_back(callback: Callable[[], None]) -> None:
    callback()


async def test_an_exception_of_the_callers_function_is_left_as_it_is() -> None:
    def of_the_caller() -> None:
        try:
            raise KeyError("of the caller")
        except KeyError:
            raise LookupError("the caller's own mistake")  # noqa: B904

    with pytest.raises(LookupError) as caught:
        await calls_back(of_the_caller)
    assert "of_the_caller" in [frame.f_code.co_name for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert isinstance(caught.value.__context__, KeyError)


@pytest.mark.parametrize("call", CALLS)
async def test_an_unexpected_exception_keeps_every_frame_for_a_bug_report(call: str) -> None:
    caught = await caught_from(CALLS[call], TypeError("x"))
    assert modules_in(caught)[-1] == "SlyAPI.example"
    assert isinstance(caught.__context__, KeyError)


async def test_what_the_caller_handles_stays_the_context_and_a_cause_loses_its_frames() -> None:
    cause = ValueError("why")
    with suppress(ValueError):
        raises(cause)

    async def handles(error: BaseException) -> None:
        try:
            raise LookupError("of the caller")
        except LookupError:
            error.__cause__ = cause
            await coroutine(error)

    caught = await caught_from(handles, ConfigError("x"))
    assert isinstance(caught.__context__, LookupError)
    assert modules_in(caught.__context__) == [__name__]
    assert caught.__cause__ is cause
    assert modules_in(cause) == []


async def test_the_error_that_the_caller_handles_may_be_raised_again() -> None:
    async def again(error: BaseException) -> None:
        try:
            raise error
        except ConfigError as handled:
            await coroutine(handled)

    caught = await caught_from(again, ConfigError("x"))
    assert caught.__context__ is not caught


@pytest.mark.parametrize("call", CALLS)
async def test_the_environment_can_keep_every_frame(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLYAPI_TRACEBACK", "1")
    caught = await caught_from(CALLS[call], ConfigError("x"))
    assert modules_in(caught)[-1] == "SlyAPI.example"
    assert isinstance(caught.__context__, KeyError)


def test_a_decorated_function_looks_as_it_did() -> None:
    assert str(inspect.signature(coroutine)) == "(error: 'BaseException') -> 'str'"
    assert inspect.iscoroutinefunction(coroutine)
    assert not inspect.iscoroutinefunction(plain)
    assert (coroutine.__name__, coroutine.__module__) == ("coroutine", __name__)
    assert inspect.getdoc(generator) == "An asynchronous generator function."
    assert pickle.loads(pickle.dumps(coroutine)) is coroutine


async def test_a_decorated_generator_takes_values_and_is_closed_once() -> None:
    base = Base()
    items = base.echo()
    assert await anext(items) == "first"
    assert await items.asend("second") == "second"
    await items.aclose()
    assert base.closed
    with pytest.raises(StopAsyncIteration):
        await anext(items)


async def test_an_error_in_the_callers_block_keeps_the_callers_frames() -> None:
    def fails() -> None:
        raise ConfigError("of the caller")

    with pytest.raises(ConfigError) as caught:
        async with Base().block():
            fails()
    assert [frame.f_code.co_name for frame, _ in traceback.walk_tb(caught.value.__traceback__)][-1] == "fails"


async def test_a_generator_that_a_loop_closes_is_closed_without_a_complaint() -> None:
    complaints: list[object] = []

    async def leaves_open() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        items = Base().echo()
        await anext(items)
        held.append(items)

    held: list[object] = []
    await asyncio.to_thread(asyncio.run, leaves_open())
    assert complaints == []
