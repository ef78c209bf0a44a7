"""What the tests of OAuth 2 share."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.support.refreshing import Place

if TYPE_CHECKING:
    from tests.conftest import Clock, Serve


@pytest.fixture
async def place(serve: Serve, tmp_path: Path, clock: Clock) -> Place:
    made: Place

    async def token(request: web.Request) -> web.StreamResponse:
        return await made.token(request)

    made = Place(clock, await serve(token), await serve(), tmp_path)
    made.gate.set()
    return made
