"""What a process remembers of a user at the provider: for how long, of which token, and of how many users."""
from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from SlyAPI.errors import BadReplyError, GrantEndedError, IdentityError, TokenError
from SlyAPI.oauth2.renewal.learned import forget_new, is_new, known_error, learn_error, learn_renewed

KEYS = count()
START = 7.0
"""Some moment of an event loop."""


@pytest.fixture
def key() -> str:
    """A user of its own."""
    return f"a user of test_learned {next(KEYS)}"


def refusal(kind: Any = "permanent", retry_after: float | None = None, *, ended: bool = False) -> TokenError:
    error = GrantEndedError if ended else TokenError
    return error(400, "code", "description", message="Refused.", kind=kind, retry_after=retry_after)


def unusable(kind: Any) -> BadReplyError:
    return BadReplyError("It cannot be used.", kind=kind)


@pytest.mark.parametrize(
    ("error", "ready", "seconds"),
    [
        (refusal(ended=True), False, 600.0),
        (refusal("transient", ended=True), False, 600.0),
        (refusal("configuration"), False, 0.0),
        (refusal("transient"), False, 0.0),
        (refusal("transient", 0.75), False, 0.75),
        (refusal("transient", 7.0), False, 7.0),
        (refusal("transient", 3600.0), False, 3600.0),
        (refusal("transient", 9e9), False, 3600.0),
        (unusable("permanent"), False, 600.0),
        (unusable("configuration"), False, 600.0),
        (unusable("transient"), False, 0.0),
        (IdentityError("Another person."), True, 60.0),
        (IdentityError("Another person."), False, 600.0),
    ],
)
def test_a_failure_is_known_for_as_long_as_it_will_not_change(
    key: str, error: Any, ready: bool, seconds: float
) -> None:
    learn_error(key, "refresh-1", error, START, ready=ready)
    assert (known_error(key, "refresh-1", START) is not None) == bool(seconds)
    if seconds:
        known = known_error(key, "refresh-1", START + seconds - 0.5)
        assert type(known) is type(error)
        assert str(known) == str(error)
    assert known_error(key, "refresh-1", START + seconds) is None


def test_a_failure_that_says_nothing_of_the_next_request_leaves_what_is_known(key: str) -> None:
    learn_error(key, "refresh-1", refusal(ended=True), START)
    learn_error(key, "refresh-1", refusal("transient"), START + 1)
    assert isinstance(known_error(key, "refresh-1", START + 2), GrantEndedError)


def test_what_is_left_of_retry_after_is_said(key: str) -> None:
    learn_error(key, "refresh-1", refusal("transient", 30.0), START)
    for passed in (0.0, 10.0, 29.0):
        known = known_error(key, "refresh-1", START + passed)
        assert known is not None
        assert known.retry_after == 30.0 - passed


@pytest.mark.parametrize(("error", "of_any"), [(refusal(ended=True), False), (refusal("transient", 9.0), True)])
def test_an_end_is_known_of_one_refresh_token_and_a_pause_of_all(key: str, error: TokenError, of_any: bool) -> None:
    learn_error(key, "refresh-1", error, START)
    for other in ("refresh-2", None, ""):
        assert (known_error(key, other, START) is not None) == of_any
    assert known_error(key, "refresh-1", START) is not None, "whatever was asked for between"


def test_the_end_of_a_user_without_a_refresh_token_is_known_too(key: str) -> None:
    learn_error(key, None, refusal(ended=True), START)
    assert known_error(key, None, START) is not None
    assert known_error(key, "refresh-1", START) is None


def test_a_known_error_is_a_new_one_each_time(key: str) -> None:
    learn_error(key, "refresh-1", refusal(ended=True), START)
    one, other = (known_error(key, "refresh-1", START) for _ in range(2))
    assert one is not None
    assert one is not other
    assert one.__traceback__ is None


def test_a_new_token_is_new_for_five_seconds_and_for_a_minute_once_it_was_refused(key: str) -> None:
    learn_renewed(key, "token-1", False, START)
    assert not is_new(key, "token-1", START + 5.0)
    learn_renewed(key, "token-1", False, START)
    assert is_new(key, "token-1", START + 4.5)
    assert is_new(key, "token-1", START + 64.0), "a minute from the refusal"
    assert not is_new(key, "token-1", START + 64.5)


@pytest.mark.parametrize("later", [60.0, 61.0])
def test_a_token_that_came_after_a_refusal_is_new_for_a_minute_and_so_is_the_next(key: str, later: float) -> None:
    learn_renewed(key, "token-1", True, START)
    assert is_new(key, "token-1", START + 59.5)
    learn_renewed(key, "token-2", False, START + 59.5)
    assert is_new(key, "token-2", START + 119.0)
    learn_renewed(key, "token-3", False, START + 59.5 + later)
    assert not is_new(key, "token-3", START + 64.5 + later)


def test_only_the_newest_token_is_new_whichever_is_asked_for(key: str) -> None:
    learn_renewed(key, "token-1", True, START)
    learn_renewed(key, "token-2", True, START)
    assert not is_new(key, "token-1", START)
    assert is_new(key, "token-2", START)


def test_an_accepted_token_is_not_new_any_more(key: str) -> None:
    learn_renewed(key, "token-1", True, START)
    forget_new(key)
    assert not is_new(key, "token-1", START)
    forget_new(key)


def test_of_two_users_each_is_known_by_itself(key: str) -> None:
    learn_renewed(key, "token-1", True, START)
    learn_error(key, "refresh-1", refusal(ended=True), START)
    assert not is_new(f"{key}, another", "token-1", START)
    assert known_error(f"{key}, another", "refresh-1", START) is None


def test_ten_thousand_users_are_known_and_the_oldest_goes_first(key: str) -> None:
    for number in range(10_000):
        learn_renewed((key, number), "token", True, START)
    assert is_new((key, 0), "token", START)
    learn_renewed((key, 10_000), "token", True, START)
    assert not is_new((key, 0), "token", START)
    assert all(is_new((key, number), "token", START) for number in (1, 2, 9_999, 10_000))


def test_what_is_learned_anew_is_the_youngest(key: str) -> None:
    for number in [*range(10_000), 0, 10_000]:
        learn_renewed((key, number), "token", True, START)
    assert is_new((key, 0), "token", START)
    assert not is_new((key, 1), "token", START)
