"""OAuth2: keeps one user's tokens fresh and signs with them.

The rule of a refresh: lock, load again, re-check, ask, save, and only then use; one at a time,
however many calls wait, and none of them can cut it short.
"""

import asyncio
import inspect
import logging
import math
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from ..auth import Auth
from ..errors import CredentialsError, CredentialsNotFoundError, GrantEndedError, SaveError, SlyError
from ..json_file import StrPath
from ..stores import FileEntry, UserEntry
from ..stores.file import LOCK_PATIENCE
from ..web import Request
from .app import OAuth2App, OnRefresh
from .user import OAuth2User, as_utc

log = logging.getLogger("SlyAPI")

LEEWAY = 30.0
"""Seconds before expiry at which a token counts as due, but never more than a tenth of its life."""
RETRY_PAUSE = 5.0
"""Seconds until a refresh that failed while the token is still good is tried again."""


class OAuth2(Auth):
    """Signs requests as one user of one client; `OAuth2("app.json", "user.json")`.

    `app` and `user` are objects or paths. With a path (or a store's entry) as user, new tokens are
    saved there before they are used, and those that another process saved are taken over.
    `on_refresh` hears of new tokens after the save, and may be a coroutine function. `clock` gives
    epoch seconds. Raises `CredentialsError` for files that are something else.
    """

    def __init__(
        self,
        app: OAuth2App | StrPath,
        user: OAuth2User | UserEntry | StrPath,
        on_refresh: OnRefresh | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.app = app if isinstance(app, OAuth2App) else OAuth2App.from_json_file(app)
        self.on_refresh = on_refresh
        self._clock = clock
        self._entry: UserEntry | None = None
        if isinstance(user, OAuth2User):
            self.user = user
        elif isinstance(user, str | os.PathLike):
            self._entry = FileEntry(user)
            self.user = OAuth2User.from_json_file(user)
        else:
            self._entry = user
            self.user = _NOT_LOADED
        # The store's value as we last saw it: only a change of it is another process's doing.
        self._stored = self.user.to_dict() if isinstance(user, str | os.PathLike) else None
        self._turn = threading.Lock()
        self._flight: asyncio.Task[None] | None = None
        self._telling: OAuth2User | None = None
        self._timed: datetime | None = None
        self._due = 0.0
        self._time()

    def __repr__(self) -> str:
        return f"OAuth2({self.app!r}, {self._entry or self.user!r})"

    async def sign(self, client: Any, request: Request) -> Request:
        """The request with the user's token, refreshed first if it is due.

        Raises `GrantEndedError` where the person has to grant again; `TokenError`, `NetworkError` or
        `BadReplyError` where a due token could not be refreshed.
        """
        if self.user.expires_at is not self._timed:
            self._time()
        if self._due <= self._clock():
            await self._fresh(client)
        request.headers["Authorization"] = self._header()
        return request

    async def resign(self, client: Any, request: Request, headers: Mapping[str, str]) -> bool:
        """After a 401: signs with a newer token, had by one refresh if nobody has it yet."""
        sent = request.headers.get("Authorization")
        if sent == self._header():
            if self._telling is self.user:
                return False  # new, and refused already: a hook that calls the API must not go round for ever
            if self.user.refresh_token:
                await self._fresh(client, rejected=self.user.token)
            else:
                await self._reload()  # the person may have granted again
        request.headers["Authorization"] = self._header()
        return request.headers["Authorization"] != sent

    async def refresh_now(self, client: Any = None) -> OAuth2User:
        """The user with tokens newer than those held now, due or not. Raises as `sign` does."""
        await self._fresh(client, rejected=self.user.token)
        return self.user

    async def settle(self) -> None:
        """Waits for a refresh in flight: cut short, it could lose a rotated refresh token."""
        flight = self._flight
        if flight is not None and not flight.done() and flight.get_loop() is asyncio.get_running_loop():
            await asyncio.wait([flight])

    def _header(self) -> str:
        user = self.user
        # some servers name the scheme `bearer` and then take only `Bearer`
        scheme = "Bearer" if user.token_type == "Bearer" or user.token_type.lower() == "bearer" else user.token_type
        return f"{scheme} {user.token}"

    def _time(self) -> None:
        """Notes when the user's token is due. A leeway by what is left of its life fits short lives too."""
        self._timed = self.user.expires_at
        if self._timed is None:
            self._due = math.inf
            return
        ends = as_utc(self._timed).timestamp()
        leeway = min(LEEWAY, max(0.0, ends - self._clock()) / 10) if self.user.refresh_token else 0.0
        self._due = ends - leeway

    async def _fresh(self, client: Any, rejected: str | None = None) -> None:
        """Waits for the one refresh in flight in this event loop, begun here if there is none."""
        loop = asyncio.get_running_loop()
        flight = self._flight
        if flight is None or flight.done() or flight.get_loop() is not loop:
            flight = self._flight = loop.create_task(self._refresh(client, rejected))
            flight.add_done_callback(_seen)
        await asyncio.shield(flight)

    async def _refresh(self, client: Any, rejected: str | None) -> None:
        try:
            async with self._entry.lock() if self._entry is not None else _taking(self._turn):
                renewed = await self._renew(client, rejected)
        finally:
            self._flight = None  # a hook that calls the API must not wait for the refresh it hears of
        if renewed:
            self._telling = self.user
            try:
                for hook in (self.app.on_refresh, self.on_refresh):
                    await self._tell(hook)
            finally:
                self._telling = None

    async def _renew(self, client: Any, rejected: str | None) -> bool:
        """Gets a token that is good, by the store or by asking; True if we asked. Holds the lock."""
        await self._reload()
        if self.user.token != rejected and self._due > self._clock():
            return False
        try:
            fresh = await self.app.refresh(client, self.user, now=self._clock())
        except GrantEndedError:
            # a program that takes no lock may have rotated it meanwhile
            asked = self.user
            await self._reload()
            if self.user.refresh_token == asked.refresh_token:
                raise
            if self._due > self._clock():
                return False
            fresh = await self.app.refresh(client, self.user, now=self._clock())
        except SlyError as error:
            if rejected is None and self._bridge(error):
                return False
            raise
        await self._save(fresh)
        self.user = fresh
        self._time()
        return True

    def _bridge(self, error: SlyError) -> bool:
        """Whether a token that is due but not over carries on while its provider is out of order."""
        ends = as_utc(self._timed).timestamp() if self._timed is not None else math.inf
        if error.kind != "transient" or self._clock() >= ends:
            return False
        log.warning("The refresh failed and the token is still good for a while: %s", error)
        self._due = min(ends, self._clock() + RETRY_PAUSE)
        return True

    async def _reload(self) -> None:
        """Takes over what another process saved. A file that is gone or broken leaves what we hold."""
        if self._entry is None:
            return
        try:
            stored = OAuth2User.from_json_obj(await self._entry.load(), repr(self._entry))
        except CredentialsNotFoundError:
            if self.user is _NOT_LOADED:
                raise
            return
        except CredentialsError as error:
            if self.user is _NOT_LOADED:
                raise
            log.warning("The stored user cannot be read, so the tokens held in memory are used: %s", error)
            return
        value = stored.to_dict()
        if value != self._stored:
            self._stored = value
            self.user = stored
            self._time()

    async def _save(self, fresh: OAuth2User) -> None:
        if self._entry is None:
            return
        try:
            await self._entry.save(fresh.to_dict())
            self._stored = fresh.to_dict()
        except SaveError as error:
            # the old refresh token may be dead by now: what we hold in memory is all there is
            log.error("New tokens are in use but were not saved, and may be lost with this process: %s", error)

    async def _tell(self, hook: OnRefresh | None) -> None:
        if hook is None:
            return
        try:
            told = hook(self.user)
            if inspect.isawaitable(told):
                await told
        except Exception as error:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "on_refresh failed; the new tokens were saved and are in use", "exception": error}
            )


_NOT_LOADED = OAuth2User("", expires_at=datetime.fromtimestamp(0, UTC))
"""Stands for the user of a store's entry until the first request loads it."""


@asynccontextmanager
async def _taking(turn: threading.Lock) -> AsyncGenerator[None, None]:
    """Holds a lock between threads; asks for it, since who blocks in one cannot be cancelled. In the end, without."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + LOCK_PATIENCE
    while not (taken := turn.acquire(blocking=False)) and loop.time() < give_up:  # noqa: ASYNC110 - threads
        await asyncio.sleep(0.005)
    try:
        yield
    finally:
        if taken:
            turn.release()


def _seen(flight: "asyncio.Task[None]") -> None:
    if not flight.cancelled():
        flight.exception()  # whoever waited has it; if all were cancelled, it is not "never retrieved"
