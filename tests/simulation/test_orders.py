"""All orders of two worlds, one refresh and one fault; then random seeds for as long as there is time."""

import os
import time
from itertools import chain, product

import pytest

from tests.simulation.crowd import FAILURES, crowd
from tests.simulation.explore import Found, all_orders, disk_plans, like, on_disk, plans, random_run, replayed
from tests.simulation.known import KNOWN, Known, unknown
from tests.simulation.scenario import Plan

pytestmark = pytest.mark.slow

CI = bool(os.environ.get("CI"))
SECONDS = 15.0 if CI else 6.0
"""For random seeds. All orders take 15 s more; without `CI`, with the stricter provider alone, 5 s."""


def _new(found: Found) -> str:
    """The story of a run that breaks an invariant in a way that is not known."""
    return str(found) if unknown(found) else ""


@pytest.mark.parametrize("grace", [0.0, 30.0] if CI else [0.0])
@pytest.mark.parametrize("store", ["file", "leased"])
def test_no_order_of_two_worlds_one_refresh_and_one_fault_breaks_an_invariant(store: str, grace: float) -> None:
    for plan in plans((store,), (grace,)):
        for found in all_orders(plan):
            assert not _new(found)


def test_no_failing_system_call_and_no_power_cut_breaks_an_invariant() -> None:
    met = 0
    for plan in disk_plans():
        for order in range(3 if CI else 1):
            found = on_disk(plan, order)
            if not found.result.faults:
                break  # that call cannot fail so
            met += 1
            assert not _new(found)
    assert met > 200


def test_no_random_seed_breaks_an_invariant() -> None:
    end, seed = time.monotonic() + SECONDS, 0  # the same each time; others by hand
    while time.monotonic() < end:
        assert not _new(random_run(seed))
        seed += 1


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(known, id=known.name, marks=pytest.mark.xfail(strict=True, reason=f"point {known.point}"))
        for known in KNOWN
        if known.plan is not None
    ],
)
def test_what_was_found_does_not_happen(known: Known) -> None:
    assert known.plan is not None
    for found in chain([replayed(known.plan, known.choices)], like(known.plan)):
        assert not [problem for problem in found.result.problems if known.explains(found, problem)]


@pytest.mark.parametrize("kind", FAILURES if CI else ["Retry-After", "503", "refused client"])
@pytest.mark.xfail(strict=True, reason="point 4")
def test_a_failing_endpoint_is_asked_seldom_and_serves_all_soon_after(kind: str) -> None:
    for seed, users in product(range(2), (1, 100)):
        found = crowd(seed, (kind,), (users,))
        assert not found.result.problems, str(found)


def test_a_seed_and_a_list_of_choices_replay_a_run() -> None:
    for seed in range(20):
        assert random_run(seed).result.trace == random_run(seed).result.trace
    plan = Plan(fault="crash after", at=4)
    for found in all_orders(plan):
        assert replayed(plan, found.choices).result.trace == found.result.trace


def test_all_orders_are_told_apart_by_what_they_do() -> None:
    stories = ["\n".join(found.result.trace) for found in all_orders(Plan())]
    assert len(stories) == len(set(stories)) > 3
