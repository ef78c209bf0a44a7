"""Results on stdout, where only data goes."""

import json
import sys
from typing import Any

from ..errors import SaveError


def print_result(text: str) -> None:
    """A result, on stdout. Raises `SaveError` where nobody can read it."""
    problem = "it is closed" if sys.stdout is None else ""
    try:
        print(text, flush=True)
    except UnicodeEncodeError:
        print(text.encode("ascii", "backslashreplace").decode(), flush=True)
    except OSError as error:
        problem = error.strerror or "it is closed"
    if problem:
        raise SaveError(f"stdout could not be written: {problem}.")


def print_json(wanted: bool, result: dict[str, Any]) -> None:
    """One JSON object on stdout, where `--json` asked for it."""
    if wanted:
        print_result(json.dumps(result))
