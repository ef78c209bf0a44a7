"""Runs one command: argv in, exit code out. Results go to stdout, messages to stderr.

The rule: every foreseeable failure is one or two lines: what happened, what was not changed, what to run next.
"""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from io import TextIOWrapper
from typing import Any

from ..errors import SlyError
from ..flow.console import Console, Interrupted, report
from .commands import EXIT_CODES, plain_call
from .results import print_result

__all__ = ["EXIT_CODES", "main"]

def main(argv: Sequence[str]) -> int:
    """Runs one command and gives its exit code; prints no traceback."""
    console = Console()
    if sys.platform == "win32" and isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(newline="\n")  # a token and a script for a shell end without a carriage return
    try:
        args = _read(argv)
        if isinstance(args, str):
            print_result(*args.split("\n"))
            return 0
        with _ending_in_order(args):
            if getattr(args, "proxy", None):
                from ..transport.sessions import use_proxy

                use_proxy(args.proxy)
            return _command(args.command)(args, console)
    except SystemExit as leave:  # argparse: --help
        return leave.code if isinstance(leave.code, int) else 2
    except KeyboardInterrupt:
        return report(console, Interrupted())
    except (SlyError, Interrupted) as error:
        return report(console, error)
    except Exception as error:
        if os.environ.get("SLYAPI_TRACEBACK"):
            raise
        return report(console, error)
    finally:
        _flush()


def _read(argv: Sequence[str]) -> Any:
    """The arguments, or a text to print."""
    if (call := plain_call(argv)) is not None:
        return call
    from .arguments import read_arguments  # and argparse with it

    return read_arguments(argv)


def _ending_in_order(args: Any) -> AbstractContextManager[None]:
    """The handlers of signals; `show` of a file starts faster without, and a child of `exec` would inherit them."""
    if args.command == "exec" or (args.command == "show" and args.user):
        return nullcontext()
    from ..flow.signals import end_signals_as_ctrl_c

    return end_signals_as_ctrl_c()


def _command(name: str) -> Callable[[Any, Console], int]:
    """A command's function, imported when it is run; by import statements, in which PyInstaller finds modules."""
    match name:
        case "scaffold":
            from .scaffold_command import scaffold as run
        case "grant":
            from .grant_command import grant as run
        case "login":
            from .account_commands import login as run
        case "accounts":
            from .account_commands import accounts as run
        case "logout":
            from .account_commands import logout as run
        case "show":
            from .show_command import show as run
        case "token":
            from .token_commands import token as run
        case "call":
            from .call.command import call as run
        case "refresh":
            from .token_commands import refresh as run
        case "revoke":
            from .token_commands import revoke as run
        case "serve":
            from .broker.command import serve as run
        case "exec":
            from .broker.command import exec_ as run
        case "doctor":
            from .doctor.command import doctor as run
        case "completion":
            from .completion import completion as run
        case "demo":
            from .demo.command import demo as run
        case _:
            from .new_command import new as run
    return run


def _flush() -> None:
    """Flushes both streams; replaces one that fails, so that the interpreter's exit does not report it."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
