"""A refresh as a task that cannot be cut short where that would lose a refresh token.

The rule: from the question to the save, who cancels it waits, `LAST_WAIT` at most.
"""

import asyncio
from typing import Any

from ..stores import StoredUser
from ..tokens.user import OAuth2User
from ..transport.per_loop import finish_before_close
from ..web.masking import SecretJson

LAST_WAIT = 10.0
"""Seconds that a refresh which is cancelled with its event loop has left to hear the provider out and save."""


class Flight(asyncio.Task[None]):
    """A refresh. From the question to the save, who cancels it has to wait: the old refresh token may be dead by then.

    At the end of its loop, `asyncio.run` cancels all tasks that are left, and waits for them.
    """

    asking = False
    known: SecretJson | None = None
    """What the store held before the question."""
    unsaved: tuple[StoredUser, OAuth2User] | None = None
    """Where new tokens were to be saved, whose store was away."""
    signer: object = None
    """Whose refresh it is."""
    _limit_at = 0.0
    _given_up: asyncio.TimerHandle | None = None

    def asks(self, limit: float, *, at_stake: bool) -> None:
        """A question goes out, that has `limit` seconds; `at_stake` if a refresh token may be used up by it."""
        self.asking = at_stake
        if at_stake:
            finish_before_close(self)
        self._limit_at = self.get_loop().time() + limit - 0.1

    def has_answer(self) -> None:
        """From here on any limit of time is the store's own."""
        self._limit_at = 0.0

    def cancel(self, msg: Any = None) -> bool:
        loop = self.get_loop()
        # a limit of time within the refresh calls from no task; a signal's handler may as well, but sooner
        timer = loop.is_running() and asyncio.current_task(loop) is None and loop.time() >= self._limit_at
        if not self.asking or timer:
            return super().cancel(msg)
        if self._given_up is None:
            self._given_up = loop.call_later(LAST_WAIT, super().cancel)
        return True

    def land(self) -> None:
        """From here on it can be cancelled, and is if someone wanted that."""
        self.asking = False
        if self._given_up is not None:
            self._given_up.cancel()
            super().cancel()


def seen(flight: "asyncio.Task[None]") -> None:
    """Takes note of how a refresh ended, for when all who waited were cancelled."""
    if not flight.cancelled():
        flight.exception()  # whoever waited has it; if all were cancelled, it is not "never retrieved"
