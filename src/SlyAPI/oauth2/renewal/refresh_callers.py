"""The callers of a refresh: they join the one in flight or begin it, renew a refused token, or wait for its end.

The rule: a caller that is cancelled cancels no refresh, and a hook never waits for the refresh that waits for it.
"""

import asyncio
from contextvars import copy_context
from typing import Any

from ...errors import clean_traceback
from ...web.secret_values import Secrets
from .held_user import NOT_LOADED, HeldUser
from .learned import is_new
from .outcome import Outcome
from .refresh import Refresh, calling_hook, unsaved_refreshes
from .uncancellable import LAST_TRY, is_cancelled

NONE = Secrets()


def is_hook_of(held: HeldUser) -> bool:
    """Whether the caller is a hook that a refresh of this user waits for, or a hook within that hook."""
    refresh = calling_hook.get()
    while refresh is not None and (refresh.key != held.key or not refresh.notifying):
        refresh = refresh.outer
    return refresh is not None


@clean_traceback
async def refresh(held: HeldUser, client: Any, why: str = "due", rejected: Secrets = NONE) -> None:
    """Step 1: waits for the user's refresh in this event loop, and begins it if there is none.

    A caller that is cancelled does not cancel it. A hook of a refresh never begins another of the same user.
    """
    if is_hook_of(held):
        if held.user is NOT_LOADED:
            await held.load()
        return
    key = held.key
    while True:
        saving = unsaved_refreshes.get(key)
        if saving is not None and saving.done.done():
            held.take(saving.held.user)
            if not held.is_due() and held.user.token not in rejected:
                return
        again = _renewed_again(saving)
        joined = saving if saving is not None and again is not None else _in_flight(held)
        begins = joined is None
        joined = joined or Refresh(held, key, client, why, rejected)
        done = again or joined.done
        try:
            await done.wait()
            if not begins:
                async with joined.turns:
                    await asyncio.sleep(0)
            if saving is not None and joined is saving:  # else `held` has newer tokens
                held.take(saving.held.user)
            return
        except asyncio.CancelledError:
            if not done.cancelled() or is_cancelled():
                raise  # else somebody cancelled the refresh, not us


async def renew_refused(held: HeldUser, client: Any) -> None:
    """After a 401 for the token in use: one refresh, unless the token is new or another program has a newer one."""
    new = is_new(held.key, held.user.token, asyncio.get_running_loop().time())
    # a new token is not renewed: another refresh would not help, unless another program did one
    if held.source.can_renew(held.user) and not is_hook_of(held) and (not new or held.is_due()):
        return await refresh(held, client, "refused", Secrets((held.user.token,)))
    await held.load()  # the person may have granted again
    saving = unsaved_refreshes.get(held.key)
    if saving is not None and held.rare.stored == saving.known_mark:
        held.take(saving.held.user)  # the store still has the tokens before those


def _in_flight(held: HeldUser) -> Refresh | None:
    return next((one for one in _of_loop(held) if one.joinable), None)


def _renewed_again(saving: Refresh | None) -> Outcome | None:
    """Asks a refresh of this event loop, which holds the user's lock, for tokens newer than those it cannot save."""
    if saving is None or not saving.done.done() or saving.loop is not asyncio.get_running_loop():
        return None
    if saving.renew_again is None:
        saving.renew_again, saving.context = Outcome(), copy_context()
        saving.steps.hurry.set()
    return saving.renew_again


async def wait_for_refresh(held: HeldUser) -> None:
    """Waits for the user's refresh in this event loop, its hooks too, unless the caller is one of them.

    Tokens that the store refuses have `LAST_TRY` seconds to be saved.
    """
    if is_hook_of(held):
        return
    if held.source.asks_person:
        for one in _of_loop(held):
            one.give_up()
    await _wait_for_outcomes(held)
    while saving := _of_loop(held):
        for one in saving:
            one.steps.hurry.set()
        await asyncio.wait([one.task for one in saving], timeout=LAST_TRY)
        for one in saving:
            one.steps.hurry.clear()
        if not await _wait_for_outcomes(held):  # a call began no renewal meanwhile
            return


async def _wait_for_outcomes(held: HeldUser) -> bool:
    """Waits until no caller waits; whether there was one."""
    waited = False
    while waiting := [outcome for one in _of_loop(held) for outcome in one.awaited()]:
        waited = True
        for outcome in waiting:
            await outcome.ended()
    return waited


def _of_loop(held: HeldUser) -> list[Refresh]:
    loop = asyncio.get_running_loop()
    return [one for one in list(held.rare.refreshes) if one.loop is loop and not one.task.done()]
