"""Runs what may refresh a user's tokens, so that Ctrl-C does not lose them.

The rule: a refresh that was sent is waited for and saved.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ..errors import GrantEndedError
from ..flow.console import Console
from ..flow.progress import waiting
from ..flow.signals import run, second_ctrl_c_exits
from ..flow.wizard import say_missing
from ..oauth2 import OAuth2App, OAuth2User
from ..oauth2.signers.signer import Signer
from .chosen_user import ChosenUser


def refresh_if_due(auth: Signer, console: Console, chosen: ChosenUser, before: OAuth2User) -> None:
    """Refreshes the tokens `before` if they are due. Raises `SaveError` where the file cannot be written, first."""
    if auth.due:
        chosen.check_writable()
    refresh_saving(auth.token, auth, console, chosen, before)


def still_valid(
    app: OAuth2App, console: Console, chosen: ChosenUser, user: OAuth2User, scopes: list[str]
) -> OAuth2User | None:
    """For `--if-needed`: the user, refreshed if that was due; None if the grant has ended or lacks one of `scopes`."""
    auth = chosen.signer(app, user)
    if set(scopes) <= {*user.scopes, *(user.requested_scopes or ())}:
        with suppress(GrantEndedError):
            refresh_if_due(auth, console, chosen, user)
            console.say(f"{chosen.label} is valid; nothing to do.")
            say_missing(auth.user, console)
            return auth.user
    return None


def with_scopes_of(before: OAuth2User, scopes: list[str]) -> list[str]:
    """These scopes and those of the user that is replaced, who would lose them otherwise."""
    return list(dict.fromkeys([*scopes, *(before.requested_scopes or before.scopes)]))


def refresh_saving(
    refresh: Callable[[], Awaitable[object]], auth: Signer, console: Console, chosen: ChosenUser, before: OAuth2User
) -> None:
    """As `run_saving_tokens`, and shows that the provider is waited for."""

    async def watched() -> None:
        async with waiting(console, "Refreshing the tokens"):
            await refresh()

    run_saving_tokens(watched, auth, console, chosen, before)


def run_saving_tokens(
    work: Callable[[], Awaitable[object]], auth: Signer, console: Console, chosen: ChosenUser, before: OAuth2User
) -> None:
    """Runs `work`, which may replace the tokens `before`. Raises `SaveError` if the new ones were not saved."""

    async def patient() -> None:
        try:
            await work()
        except asyncio.CancelledError:
            with second_ctrl_c_exits(console, "Waiting for the running refresh. Ctrl-C again stops at once."):
                await auth.wait_for_refresh()
            raise
        finally:
            if auth.user.token not in ("", before.token) and auth.not_saved is None:
                console.status = f"{chosen.label} was written."

    run(patient())
    if auth.not_saved is not None:
        raise auth.not_saved
