"""The example application as one of many processes: `web_app.py` with its flags, and shorter limits from the test.

    python example_app.py LEASE TIMEOUT SAVE_PATIENCE [FLAG...]

LEASE and TIMEOUT are the store's, in seconds: a test does not wait half a minute for a dead holder's lock, nor
20 seconds until calls no longer wait for a save.
"""
from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "docs" / "examples"))

import settings
import web_app

from SlyAPI import OAuth2App
from SlyAPI.stores import PostgresStore, RedisStore, TokenStore, store_at

LEASE, TIMEOUT, SAVE_PATIENCE = map(float, sys.argv[1:4])


class QuickApp(OAuth2App):
    """A client whose calls wait only briefly for a store that is away."""

    def __post_init__(self) -> None:
        self.save_timeout = SAVE_PATIENCE


def quick_store_at(url: str) -> TokenStore:
    store = store_at(url)
    assert isinstance(store, RedisStore | PostgresStore)
    store.lease, store.timeout = LEASE, TIMEOUT
    return store


if __name__ == "__main__":
    logging.basicConfig()
    setattr(settings, "OAuth2App", QuickApp)  # noqa: B010
    setattr(settings, "store_at", quick_store_at)  # noqa: B010
    asyncio.run(web_app.main(settings.read_settings(sys.argv[4:])))
