"""The callers of a flight: they join the one of their event loop or begin it, or wait for its end.

The rule: a caller that is cancelled cancels no flight, and a hook never waits for the flight that waits for it.
"""

import asyncio
import copy
from typing import Any

from ...errors import clean_traceback
from ...web.secret_values import Secrets
from .flight import Flight
from .holder import Holder
from .hooks import is_hook_of
from .state import NOT_LOADED
from .uncancellable import LAST_TRY, is_cancelled

NONE = Secrets()


@clean_traceback
async def renew(
    holder: Holder, session: Any, why: str = "due", rejected: Secrets = NONE, *, reads: bool = False
) -> None:
    """Waits for newer tokens of the user: for a round of the flight in this event loop, begun if there is none.

    `reads`: the entry is read first, and what it holds is enough if it is not due. A caller that is cancelled does not
    cancel the flight. Raises an error of the caller's own.
    """
    state = holder.state
    if is_hook_of(holder):
        if reads:
            await holder.load()
        return
    while True:
        flight = _in_flight(holder)
        begins = flight is None
        if flight is None:
            flight = Flight(holder, session, why, rejected, reads=reads or state.user is NOT_LOADED)
        outcome = await asyncio.shield(flight.join(rejected))
        if outcome is None:
            if begins or state.user.token not in rejected:
                return
        elif isinstance(outcome, asyncio.CancelledError):
            if is_cancelled():
                raise asyncio.CancelledError
            await asyncio.sleep(0)  # else somebody cancelled the flight, not us
        elif not rejected and holder.keeps_valid_token(outcome):
            return
        else:
            raise copy.copy(outcome)


async def renew_refused(holder: Holder, session: Any) -> None:
    """After a 401 for the token in use: one refresh, unless the token is new or another program has a newer one."""
    state = holder.state
    new = state.is_new(asyncio.get_running_loop().time())
    if holder.source.can_renew(state.user) and not is_hook_of(holder) and (not new or holder.is_due()):
        return await renew(holder, session, "refused", Secrets((state.user.token,)))
    await holder.load()  # the person may have granted again


async def wait_for_flights(holder: Holder) -> None:
    """Waits for the user's flights in this event loop, their hooks too, unless the caller is one of them.

    Tokens that the store refuses have `LAST_TRY` seconds to be saved.
    """
    if is_hook_of(holder):
        return
    if holder.source.login_pending:
        for flight in _of_loop(holder):
            flight.give_up()
    while flights := _of_loop(holder):
        waiting = [flight.round for flight in flights if not flight.round.done()]
        if waiting:
            await asyncio.wait(waiting)
            continue
        for flight in flights:
            flight.steps.hurry.set()
        done, _ = await asyncio.wait([flight.task for flight in flights], timeout=LAST_TRY)
        for flight in flights:
            flight.steps.hurry.clear()
        if not done and all(flight.round.done() for flight in flights):
            return


def _in_flight(holder: Holder) -> Flight | None:
    """The flight of this event loop that callers may join. Those of closed loops are dropped."""
    for flight in list(holder.state.flights):
        if flight.loop.is_closed():
            flight.drop()
    return next((one for one in _of_loop(holder) if one.joinable), None)


def _of_loop(holder: Holder) -> list[Flight]:
    loop = asyncio.get_running_loop()
    return [one for one in list(holder.state.flights) if one.loop is loop and not one.task.done()]


