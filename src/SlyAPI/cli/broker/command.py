"""Runs the broker for other programs (serve), or for one child (exec).

The rule: the pass is on stdout or in the child's environment, and in no argument, file or log.
"""

import asyncio
import secrets
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError
from ...flow.console import Console, printable_line
from ...flow.signals import run
from ...oauth2.accounts import Account
from ..results import print_json, print_result
from .child import run_child
from .listening import Listening, listening
from .refusals import Checks
from .rules import Allowed, Rules
from .server import Broker


@dataclass(frozen=True, slots=True)
class _Open:
    """A running broker as its callers know it."""

    listening: Listening
    secret: str

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a program that calls it."""
        path = self.listening.path
        return {"API_URL": self.listening.url, "API_PASS": self.secret} | ({"API_SOCKET": path} if path else {})


@asynccontextmanager
async def _opened(args: Any, patience: float, quiet: bool) -> AsyncGenerator[_Open, None]:
    """The broker of the account that the arguments name, while the block runs."""
    rules = Rules(args.read_only, tuple(Allowed.of(rule) for rule in args.allow))
    account = Account.load(args.account_name)
    if args.socket and args.port is not None:
        raise ConfigError("--port and --socket exclude each other.")
    with listening(args.port or 0, args.socket) as places:
        secret = secrets.token_urlsafe(32)
        checks = Checks(secret, places.hosts, rules)
        broker = Broker(account.name, checks, (lambda line: None) if quiet else _say)
        async with broker.serving(places, patience):
            yield _Open(places, secret)


def _say(line: str) -> None:
    """Writes a line of the log to stderr; not by `Console`, which breaks lines and costs as much as a request."""
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"{printable_line(line)}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            pass  # nobody reads it


def serve(args: Any, console: Console) -> int:
    """Serves an account to other programs, until Ctrl-C or SIGTERM."""

    async def serving() -> None:
        async with _opened(args, 5.0, quiet=False) as broker:
            if args.json:
                print_json(True, {"account": args.account_name, **_told(broker)})
            else:
                print_result(*(f"{name}={value}" for name, value in broker.variables.items()))
            console.say(f"Serving the account {args.account_name}. Ctrl-C ends it.")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:  # Ctrl-C, or SIGTERM: this is how a broker is meant to end
                console.say("The broker has ended.")

    run(serving())
    return 0


def _told(broker: _Open) -> dict[str, str]:
    return {name.removeprefix("API_").lower(): value for name, value in broker.variables.items()}


def exec_(args: Any, console: Console) -> int:
    """Runs a program with a broker of its own, which ends with it; gives the program's exit code."""
    if not args.program or args.program != args.after_dashes:
        step = "Write it behind two dashes: exec NAME -- PROGRAM ARGUMENT ..."
        raise ConfigError("Which program?", next_step=step)

    async def executing() -> int:
        async with _opened(args, 0.0, quiet=not args.verbose) as broker:
            return await run_child(args.program, broker.variables)

    return run(executing())
