"""A pause at a line: world A stands still between two lines of the package, after its lock and before its request.

The rule: the other worlds run on meanwhile, within the callback of A's that stands still.
"""

import sys
from typing import TYPE_CHECKING, Any

from tests.simulation.universe import Stopped

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario
    from tests.simulation.worlds import World

PAUSE = 100.0
"""Seconds, more than any lease."""


class LinePause:
    """Counts the lines that a world runs from now on, and pauses it at one of them."""

    def __init__(self, scenario: "Scenario", world: "World", line: int, *, suspended: bool) -> None:
        self._scenario, self._world, self._left, self._suspended = scenario, world, line, suspended
        self._package = world.process.package.name
        world.trace = self._call

    def _call(self, frame: Any, event: str, _: Any) -> Any:
        ours = frame.f_globals.get("__name__", "").startswith(self._package)
        return self._line if ours and self._world.trace is not None else None

    def _line(self, frame: Any, event: str, _: Any) -> Any:
        if self._world.trace is None:
            return None
        if event == "line":
            self._left -= 1
            if self._left <= 0:
                self._world.trace = None
                sys.settrace(None)
                self._stand_still(f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}")
        return self._line

    def _stand_still(self, where: str) -> None:
        scenario, universe = self._scenario, self._scenario.universe
        scenario.note_fault("line suspend" if self._suspended else "line pause", where)
        scenario.pause(self._world, PAUSE, suspended=self._suspended)
        until = universe.now + PAUSE
        try:
            universe.run(lambda: universe.now >= until)
        except Stopped as stopped:  # not through the package's code, which might catch it
            universe.stopped = stopped
