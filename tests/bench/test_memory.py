"""What 10,000 held users cost, in a process of its own: bytes are facts, not timings."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MOST = {
    "user": 600,
    "user, auth": 1036,
    "user, auth, client": 1131,
    "user, auth, client without a shared session": 1131,
}
SLACK = 1.03
"""Objects are a little larger in one version of Python than in another."""


@pytest.fixture(scope="module")
def measured() -> dict[str, float]:
    words = [sys.executable, "-m", "tests.bench.memory"]
    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    told: dict[str, float] = json.loads(ran.stdout)
    return told


@pytest.mark.parametrize("what", MOST)
def test_a_held_user_costs_no_more_than_this(measured: dict[str, float], what: str) -> None:
    assert 250 < measured[what] <= MOST[what] * SLACK
