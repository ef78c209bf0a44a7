"""Tests that only the Windows Python of `tests/windows/run` collects: they need what other systems do not have."""
from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.support.place import Place, place_at

collect_ignore_glob = [] if sys.platform == "win32" else ["test_*.py"]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place, None]:
    async with place_at(tmp_path) as place:
        yield place
