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

from SlyAPI.oauth2 import signer
from SlyAPI.stores import PostgresStore, RedisStore, TokenStore, store_at

LEASE, TIMEOUT, SAVE_PATIENCE = map(float, sys.argv[1:4])


def quick_store_at(url: str) -> TokenStore:
    store = store_at(url)
    assert isinstance(store, RedisStore | PostgresStore)
    store.lease, store.timeout = LEASE, TIMEOUT
    return store


if __name__ == "__main__":
    logging.basicConfig()
    signer.SAVE_PATIENCE = SAVE_PATIENCE
    setattr(settings, "store_at", quick_store_at)  # noqa: B010
    asyncio.run(web_app.main(settings.read_settings(sys.argv[4:])))
