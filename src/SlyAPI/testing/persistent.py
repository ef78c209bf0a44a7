"""A practice provider that outlives its process: its state is a file, its port stays the same."""
from __future__ import annotations

import errno
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from .provider import PracticeProvider

_MISSING = "Run this in the folder that python -m SlyAPI demo makes. There is no practice provider here"


@asynccontextmanager
async def kept_provider(path: str | os.PathLike[str], **settings: Any) -> AsyncGenerator[PracticeProvider, None]:
    """The provider whose state `keep` put into the file at `path`, running where it ran; saved again at the end.

    `settings` are those of `PracticeProvider.from_json`. Raises FileNotFoundError, ValueError for another file, OSError
    where the port is taken.
    """
    try:
        with open(path, encoding="utf-8") as file:
            saved = json.load(file)
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, _MISSING, os.fspath(path)) from None
    provider = PracticeProvider.from_json(saved["provider"], **settings)
    async with provider.running(saved["port"]):
        try:
            yield provider
        finally:
            keep(provider, path)


def keep(provider: PracticeProvider, path: str | os.PathLike[str]) -> None:
    """Puts a running provider's state and port into a file, for `kept_provider`."""
    port = int((provider.listening_at or "").rpartition(":")[2])
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"port": port, "provider": provider.to_json()}, file)
