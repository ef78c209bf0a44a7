"""Writes results to stdout, which carries only data."""

import sys
from collections.abc import Sequence
from typing import Any

from ..errors import SaveError
from ..flow.console import printable_line
from ..flow.terminal import columns, is_plain, is_terminal, table


def print_result(*lines: str) -> None:
    """Writes the lines of a result to stdout, safe for a terminal. Raises `SaveError` if stdout cannot be written."""
    text = "\n".join(map(printable_line, lines))
    problem = "" if sys.stdout else "it is closed"
    try:
        print(text, flush=True)
    except UnicodeEncodeError:
        print(text.encode("ascii", "backslashreplace").decode(), flush=True)
    except OSError as error:
        problem = error.strerror or "it is closed"
    if problem:
        raise SaveError(f"stdout could not be written: {problem}.")


def print_table(rows: Sequence[tuple[str, str]], column: int) -> None:
    """Writes rows of a label and a text to stdout, which begin at `column`; on a terminal they fit its width."""
    safe = [(printable_line(label), printable_line(text)) for label, text in rows]
    print_result(*table(safe, column, columns(sys.stdout), plain=is_terminal(sys.stdout) and is_plain()))


def write_data(data: bytes) -> None:
    """Writes bytes to stdout as they are. Raises `SaveError` if stdout cannot be written."""
    if sys.stdout is None:
        raise SaveError("stdout could not be written: it is closed.")
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or "it is closed"
    else:
        return
    raise SaveError(f"stdout could not be written: {problem}.")


def print_json(wanted: bool, result: dict[str, Any]) -> None:
    """Writes one JSON object to stdout if `--json` was given."""
    if wanted:
        import json

        print_result(json.dumps(result))
