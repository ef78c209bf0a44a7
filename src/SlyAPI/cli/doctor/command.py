"""The command that checks a set-up point by point: doctor.

The rule: gathers in one place, judges in another, and only prints here; without `--refresh` no credential leaves.
"""

import sys
from typing import Any

from ...flow.console import Console, printable_line
from ...flow.terminal import columns, is_plain, is_terminal, table
from ..results import print_json, print_result
from .checks import Finding, findings
from .facts import gather

FOUND = 3
"""The exit code where something is wrong."""
_MARKS = {"ok": ("✓", "ok   "), "wrong": ("✗", "WRONG"), "skipped": ("-", "-    ")}
_SPOKEN = {"ok": "ok:", "wrong": "Wrong:", "skipped": "Not checked:"}


def doctor(args: Any, console: Console) -> int:
    """Prints one line for each point, with what to do where something is wrong."""
    found = findings(gather(args, console))
    wrong = [each for each in found if each.state == "wrong"]
    if args.json:
        print_json(True, {"ok": not wrong, "findings": [each._asdict() for each in found]})
    else:
        spoken = is_terminal(sys.stdout) and is_plain()
        print_result(*report_lines(found, columns(sys.stdout), ascii=not _can_show_marks(), spoken=spoken))
    return FOUND if wrong else 0


def report_lines(found: list[Finding], width: int | None, *, ascii: bool = False, spoken: bool = False) -> list[str]:
    """Mark, point and finding, then what to do; `ascii`: words as marks; `spoken`: sentences for a screen reader."""
    rows: list[tuple[str, str]] = []
    longest = max((len(each.check) for each in found), default=0)
    for each in found:
        mark = _SPOKEN[each.state] if spoken else _MARKS[each.state][ascii]
        rows.append((f"{mark} {printable_line(each.check)}{':' * spoken}", printable_line(each.text)))
        if each.next_step:
            rows.append(("To do:" if spoken else "", printable_line(each.next_step)))
    lines = table(rows, longest + len(_MARKS["ok"][ascii]) + 3, width, plain=spoken)
    wrong = sum(each.state == "wrong" for each in found)
    return [*lines, "", f"{wrong} to correct." if wrong else "Nothing to correct."]


def _can_show_marks() -> bool:
    try:
        "".join(mark for mark, _ in _MARKS.values()).encode((sys.stdout and sys.stdout.encoding) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
