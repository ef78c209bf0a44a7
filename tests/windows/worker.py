"""One of several programs that call the API as the same user: prints a line for each call, until it is ended.

    python worker.py KIND PLACE APP_FILE API_URL
"""
from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from SlyAPI import OAuth2, SlyError, WebAPI
from tests.support.other_process import entry_of


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def main(kind: str, place: str, app_file: str, api_url: str) -> None:
    api = WebAPI(OAuth2(app_file, entry_of(kind, Path(place))))
    api.base_url = api_url
    say("started")
    while True:
        try:
            await api.get_json("/me")
            say("ok")
        except SlyError as error:
            say("failed", type(error).__name__, *str(error).split())
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        say("stopped")
