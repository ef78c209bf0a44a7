"""`tests/bench/run`: runs the sections asked for, prints each table, and writes it into the docs, with its plot.

The rule: a table says what was run, on what, and when.
"""

import argparse
import os
import platform
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.bench import imports, plot
from tests.bench.measure import ROOT
from tests.bench.sections import calls, growth, memory, peers, refreshes, saves, stampedes, transfers

PAGE = ROOT / "docs" / "performance.md"


def _imports(quick: bool) -> str:
    del quick  # it is over soon
    unit, rows = imports.rows()
    lines = [f"| what is run | {unit} | times |", "| --- | ---: | ---: |"]
    return "\n".join([*lines, *(f"| `{name}` | {cost:.1f} | {times:.2f} |" for name, cost, times in rows)])


SECTIONS: dict[str, Callable[[bool], str]] = {
    "calls": calls,
    "refreshes": refreshes,
    "transfers": transfers,
    "saves": saves,
    "peers": peers,
    "imports": _imports,
    "memory": memory,
    "growth": growth,
    "stampede": stampedes,
}


def main() -> None:
    """Raises `SystemExit` for a section that there is not."""
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all unless named")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and instructions of the small GET alone")
    parser.add_argument("--dry", action="store_true", help="print, and leave docs/performance.md as it is")
    asked = parser.parse_args()
    unknown = set(asked.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}")
    for name in asked.sections or SECTIONS:
        told = f"{SECTIONS[name](asked.quick)}\n\n{_circumstances(name, asked.quick)}"
        sys.stdout.write(f"## {name}\n\n{told}\n\n")
        sys.stdout.flush()
        if not asked.dry:
            _write(PAGE, name, told)


def _circumstances(name: str, quick: bool) -> str:
    command = f"tests/bench/run {'--quick ' if quick else ''}{name}"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    load = f"load average {os.getloadavg()[0]:.1f}"
    return (
        f"`{command}`, {datetime.now(UTC):%Y-%m-%d}: {python}, aiohttp {version('aiohttp')}, {_processor()}, "
        f"{os.cpu_count()} cores, {load}."
    )


def _processor() -> str:
    told = Path("/proc/cpuinfo").read_text("utf-8") if sys.platform == "linux" else ""
    found = re.search(r"model name\s*: (.+)", told)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _write(page: Path, name: str, told: str) -> None:
    begin, end = f"<!-- {name}: by tests/bench/run -->", f"<!-- end of {name} -->"
    text = page.read_text("utf-8")
    before, found, rest = text.partition(begin)
    if not found or end not in rest:
        raise SystemExit(f"{page} has no place for {name}.")
    page.write_text(f"{before}{begin}\n{told}\n{end}{rest.partition(end)[2]}", "utf-8")
    plot.write(page)
