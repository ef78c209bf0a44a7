"""What goes wrong on the simulated disk: one system call of world A, or some of anybody's by chance.

The rule: an error is one that the call may give (`faults.DISK_ERRORS`); after a power cut all worlds are gone, and
what was in use must be on the disk.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation.faults import DISK_ERRORS, FULL, REFUSED_BY, os_error
from tests.simulation.worlds import World

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

WRITING = ("open", "write", "fsync", "close", "replace", "stat", "fstat", "read", "flock")
"""Calls without which there is no save: it locks the folder and compares what is there."""


class Trouble:
    """Strikes system calls: `chance(call)` names a way of `faults.DISK_FAULTS` and an error, or nothing."""

    def __init__(self, scenario: "Scenario") -> None:
        self._scenario = scenario
        self.chance: Callable[[str], tuple[str, str] | None] = lambda call: None
        self.cut: Callable[[int], int] = lambda most: 0
        self._count = 0
        self._failing: tuple[tuple[str, ...], str, int, float] | None = None
        scenario.disk.strike, scenario.disk.locked = self._strike, scenario.note_lock

    def _strike(self, world: World, call: str) -> None:
        scenario, plan = self._scenario, self._scenario.plan
        way = None
        if plan.disk_fault == "always":
            if call == ("replace" if plan.disk_error == "EBUSY" else "create"):
                scenario.saves_work_from = scenario.universe.now + 1e6
                raise os_error(plan.disk_error)
        elif plan.disk_fault:
            if world.number == 0:
                self._count += 1
                fits = plan.disk_fault == FULL or plan.disk_error in ("", *DISK_ERRORS.get(call, ()))
                if self._count == plan.at and fits:
                    way = plan.disk_fault, plan.disk_error
        else:
            way = self.chance(call)
        if way is not None:
            self._begin(world, call, *way)
        if self._failing is not None:
            names, error, times, until = self._failing
            if call in names and (times > 0 or scenario.universe.now < until):
                self._failing = names, error, times - 1, until
                if call in WRITING:
                    scenario.saves_work_from = max(scenario.saves_work_from, scenario.universe.now, until)
                scenario.universe.say(f"  {world.name}: {call} fails: {error}")
                raise os_error(error)

    def _begin(self, world: World, call: str, way: str, error: str) -> None:
        scenario = self._scenario
        scenario.note_fault(f"disk {call} {way} {error}".rstrip(), f"{call} of {world.name}")
        if way == "kill":
            world.crash()
        elif way == "power cut":
            self.cut_power()
        elif way == FULL:
            scenario.full(70.0)
            self._failing = REFUSED_BY[error], error, 0, scenario.full_until
        else:
            times = {"once": 1, "3 times": 3}.get(way, 0)
            seconds = {"for 3 s": 3.0, "for 70 s": 70.0}.get(way, 0.0)
            self._failing = (call,), error, times, scenario.universe.now + seconds if seconds else 0.0

    def cut_power(self) -> None:
        """All programs die; tokens that were saved, and in use since, are still to be on the disk."""
        scenario = self._scenario
        for world in scenario.universe.worlds:
            world.crash()
        scenario.disk.cut_power(self.cut)
        for rotation in scenario.provider.rotations:
            rotation.excuse = "" if rotation.used_saved else "the power was cut"
