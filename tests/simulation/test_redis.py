"""The real Redis store, on a simulated server: a holder that dies, one that stands still, a server that refuses."""

import os

import pytest

from tests.simulation.explore import all_orders, plans
from tests.simulation.faults import FAULTS
from tests.simulation.known import unknown

pytestmark = pytest.mark.slow

OFTEN = [name for name in FAULTS if name.startswith(("crash", "pause 8")) or name in ("redis swap connection x1",)]
NAMES = [name for name in FAULTS if name.startswith("redis") and name.endswith((" x1", " 3s")) and name not in OFTEN]


@pytest.mark.parametrize("name", OFTEN + (NAMES if os.environ.get("CI") else []))
def test_no_order_breaks_an_invariant(name: str) -> None:
    for plan in plans(("redis",), (0.0,), lambda fault: fault.name == name):
        for found in all_orders(plan):
            assert not unknown(found), str(found)
