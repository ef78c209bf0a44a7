"""The command that checks a set-up point by point: doctor.

The rule: gathers in one place, judges in another, and only prints here; without `--refresh` no credential leaves.
"""

import sys
from typing import Any

from ..flow.console import Console
from .doctor_checks import Finding, findings
from .doctor_facts import gather
from .results import print_json, print_result

FOUND = 3
"""The exit code where something is wrong."""
_MARKS = {"ok": ("✓", "ok   "), "wrong": ("✗", "WRONG"), "skipped": ("-", "-    ")}


def doctor(args: Any, console: Console) -> int:
    """Prints one line for each point, with what to do where something is wrong."""
    found = findings(gather(args, console))
    wrong = [each for each in found if each.state == "wrong"]
    if args.json:
        print_json(True, {"ok": not wrong, "findings": [each._asdict() for each in found]})
    else:
        print_result(*report_lines(found, plain=not _can_show_marks()))
    return FOUND if wrong else 0


def report_lines(found: list[Finding], *, plain: bool) -> list[str]:
    """The report as text: a mark, the point, what was found; a second line says what to do. `plain`: in ASCII."""
    width = max((len(each.check) for each in found), default=0)
    lines: list[str] = []
    for each in found:
        mark = _MARKS[each.state][plain]
        lines.append(f"{mark} {each.check:<{width}}  {each.text}")
        if each.next_step:
            lines.append(f"{' ' * (len(mark) + width + 3)}{each.next_step}")
    wrong = sum(each.state == "wrong" for each in found)
    return [*lines, "", f"{wrong} to correct." if wrong else "Nothing to correct."]


def _can_show_marks() -> bool:
    try:
        "".join(mark for mark, _ in _MARKS.values()).encode((sys.stdout and sys.stdout.encoding) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
