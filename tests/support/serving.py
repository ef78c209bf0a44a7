"""An aiohttp.web application on a port of its own."""
from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from ssl import SSLContext

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def all_by(handler: Handler) -> web.Application:
    """An application in which one handler answers everything."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    return application


@asynccontextmanager
async def served(
    application: web.Application, *, patience: float = 0.1, backlog: int = 128, ssl_context: SSLContext | None = None
) -> AsyncGenerator[str, None]:
    """Gives its origin; at the end requests under way have `patience` seconds."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=patience)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=backlog, ssl_context=ssl_context).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
