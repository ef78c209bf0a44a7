"""aiohttp sessions: one for each event loop, or one on the connections of the caller's session.

The rule: nobody has to close anything, and a session is not closed while a token request uses its connections.
"""

import asyncio
import contextlib
import weakref
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from .per_loop import PerLoop

if TYPE_CHECKING:
    import aiohttp


def session_on_same_connector(client: "aiohttp.ClientSession | None") -> "aiohttp.ClientSession":
    """A session on the client's connections, with their TLS settings and its proxy, to be closed after use.

    It has none of the client's headers, cookies, credentials, base URL and middlewares, which are meant for an API.
    """
    import aiohttp

    if client is None or client.closed:
        return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
    return aiohttp.ClientSession(
        connector=client.connector,
        connector_owner=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=client.trust_env,
        proxy=getattr(client, "_default_proxy", None),  # aiohttp has no public name for it
        proxy_auth=getattr(client, "_default_proxy_auth", None),
    )


_USES: "weakref.WeakKeyDictionary[aiohttp.ClientSession, set[asyncio.Future[None]]]" = weakref.WeakKeyDictionary()


@contextlib.asynccontextmanager
async def in_use(client: "aiohttp.ClientSession | None") -> AsyncGenerator[None, None]:
    """Keeps `Sessions` from closing the client: losing a token reply can end a grant."""
    use = asyncio.get_running_loop().create_future()
    uses = _USES.setdefault(client, set()) if client is not None else set()
    uses.add(use)
    try:
        yield
    finally:
        uses.discard(use)
        use.cancel()


def load_aiohttp() -> None:
    """Imports aiohttp, which makes sessions."""
    import aiohttp  # noqa: F401  # pyright: ignore[reportUnusedImport]


class Sessions(PerLoop["aiohttp.ClientSession"]):
    """One `aiohttp.ClientSession` for each event loop, made on first use, closed when its loop ends.

    `trace_configs` are called for its requests.
    """

    def __init__(self, trace_configs: "Sequence[aiohttp.TraceConfig]" = ()) -> None:
        import aiohttp

        session = aiohttp.ClientSession
        make = partial(session, trace_configs=[*trace_configs]) if trace_configs else session
        super().__init__(make, _close_after_use, attrgetter("closed"))


async def _close_after_use(session: "aiohttp.ClientSession") -> None:
    if uses := _USES.get(session):
        await asyncio.wait(uses)
    await session.close()
