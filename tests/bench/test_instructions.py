"""What a call, a token request and a start cost: instructions compared with bare aiohttp, which no load changes.

The rule: 3 % of slack. Beyond it, a rise costs every request of every user, so the commit says what it buys; a fall
is written down here.
"""
from __future__ import annotations

import sys

import pytest

from tests.bench import imports
from tests.bench.measure import has_callgrind, instructions

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_callgrind(), reason="valgrind is not installed"),
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the figures are of CPython 3.11"),
]

SLACK = 1.03
TIMES = {
    "small": 1.01,
    "params": 1.03,
    "list_param": 1.05,
    "at_once": 1.00,
    "pages": 1.11,
    "list": 1.08,
    "new": 1.15,
    "second": 1.02,
    "refresh": 1.37,
    "refresh_alone": 1.16,
    "refresh_memory": 1.99,
    "refresh_file": 2.97,
    "refresh_sqlite": 4.75,
}
"""The instructions of SlyAPI, divided by those by hand, when they were last counted: CPython 3.11, aiohttp 3.14."""
STARTS = {
    "python -m SlyAPI --help": 0.090,
    "python -m SlyAPI show USER.json": 0.111,
    "python -c import SlyAPI": 0.062,
    f"python -c from SlyAPI import {imports.NAMES}": 0.630,
}
"""The instructions beyond those of `python -c pass`, divided by those of `import aiohttp`."""
CALLS = {"at_once": 1, "pages": 2, "list": 2, "new": 8, "refresh_alone": 8}
WITHOUT_ORJSON = (sys.executable, "-m", "tests.bench.without_orjson")


@pytest.fixture(scope="module")
def counted() -> dict[str, float]:
    """Instructions of one call by mode, of all modes in one process: the imports are most of its time."""
    cases = {f"{who}:{case}": CALLS.get(case, 20) for case in TIMES for who in ("hand", "sly")}
    return instructions(WITHOUT_ORJSON, cases)


@pytest.mark.parametrize("case", TIMES)
def test_a_call_costs_at_most_as_many_instructions_as_before(counted: dict[str, float], case: str) -> None:
    times = counted[f"sly:{case}"] / counted[f"hand:{case}"]
    assert times <= TIMES[case] * SLACK


@pytest.fixture(scope="module")
def started() -> dict[str, float]:
    """Instructions of each start beyond those of Python's own, which depend on what else is installed."""
    costs = {name: cost for name, cost, _ in imports.rows()[1]}
    return {name: cost - costs["python -c pass"] for name, cost in costs.items()}


@pytest.mark.parametrize("start", STARTS)
def test_a_start_costs_at_most_as_many_instructions_as_before(started: dict[str, float], start: str) -> None:
    assert started[start] / started["python -c import aiohttp"] <= STARTS[start] * SLACK
