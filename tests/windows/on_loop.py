"""Runs the command line (`slyapi`), or a script, on an event loop of a kind: python on_loop.py LOOP WHAT ARGUMENT..."""
from __future__ import annotations

import asyncio
import runpy
import sys

if __name__ == "__main__":
    loop, what, *arguments = sys.argv[1:]
    if sys.platform == "win32" and loop == "selector":
        asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
    if what == "slyapi":
        from SlyAPI.cli.main import main

        sys.exit(main(arguments))
    sys.argv = [what, *arguments]
    runpy.run_path(what, run_name="__main__")
