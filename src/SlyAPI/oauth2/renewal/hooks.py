"""The program's hooks, which hear of new tokens.

The rule: a plain function runs, a coroutine is started, and no call waits for it. A hook that calls the API never
begins or waits for a flight of the same user.
"""

import asyncio
import inspect
from contextvars import ContextVar

from ...tokens.user import OAuth2User
from ..client.client import OnRefresh
from .holder import Holder

SAVED = "on_refresh failed; the new tokens were saved and are in use"
IN_MEMORY = "on_refresh failed; it is called again with the new tokens, which are in memory alone"


class Hooks:
    """The hooks of one flight: the client's, and the signer's."""

    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        self.unheard: list[OnRefresh] = []
        """Those that have not been called with the newest tokens, or that failed though they are the save."""
        self.running: list[asyncio.Task[None]] = []

    def expect(self) -> None:
        """There are new tokens, which each hook is to hear of."""
        hooks = (self.holder.source.app.on_refresh, self.holder.hook)
        self.unheard = [hook for hook in hooks if hook is not None]

    def call(self, user: OAuth2User) -> None:
        """Begins the hooks; plain functions run before whoever waits for the flight goes on."""
        hooks, self.unheard = self.unheard, []
        for hook in hooks:
            task = asyncio.get_running_loop().create_task(self._notify(hook, user))
            asyncio._unregister_task(task)
            self.running.append(task)

    async def ended(self) -> None:
        """Waits until those that run have ended; cancels them if it is cancelled."""
        await asyncio.gather(*self.running)
        self.running = []

    async def _notify(self, hook: OnRefresh, user: OAuth2User) -> None:
        """Calls a hook; its failure is reported to the event loop's handler."""
        _calling.set((*_calling.get(), self))  # in this task, and in those that the hook begins
        try:
            result = hook(user)
            if inspect.isawaitable(result):
                await result
        except (Exception, asyncio.CancelledError) as error:
            in_memory = self.holder.entry is None
            if in_memory:
                self.unheard.append(hook)
            context = {"message": IN_MEMORY if in_memory else SAVED, "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)


def is_hook_of(holder: Holder) -> bool:
    """Whether the caller is a hook of this user's that has not ended, or a hook within that hook."""
    return any(hooks.holder.state is holder.state and hooks.running for hooks in _calling.get())


_calling: ContextVar[tuple[Hooks, ...]] = ContextVar("calling", default=())
"""The flights whose hooks are calling, the innermost last."""
