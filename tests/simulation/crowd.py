"""Many users of one client at a token endpoint that fails: how often it is asked, and when all is well again.

The rule: it is asked a bounded number of times, whatever it answers, and soon after it works again so do the calls.
"""

import random
from functools import partial

from tests.simulation.explore import Found, random_run
from tests.simulation.faults import Fault, answer
from tests.simulation.scenario import Plan, Scenario
from tests.simulation.universe import Op

FAILURES = {
    "Retry-After": answer(429, b'{"error":"slow_down"}', 60.0),
    "503 and Retry-After": answer(503, b"<html>", 60.0),
    "503": answer(503, b"<html>"),
    "500": answer(500, b'{"error":"server_error"}'),
    "page": answer(200, b"<html>"),
    "refused client": answer(401, b'{"error":"invalid_client"}'),
    "rate limit": answer(400, b'{"error":"rate_limit_exceeded"}'),
}
BEGAN = 1000.0
"""The universe's time at the start of a run."""
AT_RETRY_AFTER, IN_HALF_A_SECOND = 5, 30
"""Requests at most: while Retry-After lasts, and in any half second."""
SHORT, SOON, LONGEST = 4.0, 5.0, 60.0
"""Seconds: of a short outage, until calls work after it, and until they work after any other."""


def run_of(seed: int) -> Found:
    """The run of a seed: each hundredth is a crowd."""
    return crowd(seed) if seed % 100 == 99 else random_run(seed)


def crowd(seed: int, kinds: tuple[str, ...] = tuple(FAILURES), users: tuple[int, ...] = (1, 20, 100)) -> Found:
    """Two hundred calls in half a second while the endpoint fails, then one each second."""
    chance = random.Random(seed)
    kind = chance.choice(kinds)
    waits = "Retry-After" in kind
    lasts = 60.0 if waits else chance.choice((1.0, 3.0, 20.0, 90.0))
    first = tuple(chance.random() / 2 for _ in range(200))
    later = tuple(float(second) for second in range(1, int(lasts + LONGEST + 15)))
    store, latency = chance.choice(("file", "leased")), chance.choice((0.0, 0.1, 0.4))
    plan = Plan(store, starts=(first + later,), users=chance.choice(users), latency=latency)

    def fail(scenario: Scenario, op: Op) -> Fault | None:
        failing = op.label == "token" and scenario.universe.now < BEGAN + lasts
        return Fault(kind, ("token",), FAILURES[kind]) if failing else None

    scenario = Scenario(plan, lambda ops: chance.randrange(len(ops)), fail)
    result = scenario.run()
    problem = partial(str.format, "crowd: {0} {1} of {2} users at {3} for {4:g} s")
    about = plan.users, kind, lasts
    asked = sorted(moment - BEGAN for moment in scenario.provider.requests)
    if waits and sum(moment < lasts for moment in asked) > AT_RETRY_AFTER:
        result.problems.append(problem(sum(moment < lasts for moment in asked), "requests", *about))
    most = max(sum(start <= moment < start + 0.5 for moment in asked) for start in asked if start < lasts)
    if most > IN_HALF_A_SECOND:
        result.problems.append(problem(most, "requests in half a second", *about))
    short = lasts <= SHORT and kind not in ("page", "refused client")  # those count for a minute
    well = lasts + 1.0 if waits else lasts + (SOON if short else LONGEST)
    late = [call for call in scenario.universe.worlds[0].calls if call.started - BEGAN > well and call.outcome != "ok"]
    if late:
        at = f"calls fail later than {well:g} s ({late[0].outcome})"
        result.problems.append(problem(len(late), at, *about))
    return Found(plan, (), result, seed)
