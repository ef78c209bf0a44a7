"""Which runs there are: all orders of a small scenario, or as many random ones as there is time for.

The rule: what is found names itself: a `Plan` with the list of its choices, or a seed.

All orders: a run is repeated from its start, with another choice at the last place that has one left
(stateless search). Orders that differ only in the sequence of operations that commute (of two worlds, on other
objects, or reads) come to the same; of each such class one is run (sleep sets: Godefroid 1996).
"""

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from tests.simulation.faults import DISK_ERRORS, DISK_FAULTS, FAULTS, FULL, REDIS, REFUSED_BY, Fault
from tests.simulation.programs import COPIES, WORKS
from tests.simulation.scenario import Plan, Result, Scenario
from tests.simulation.universe import Footprint, Op

Key = tuple[int, int]
LEASES = ("leased", "redis")
"""Stores whose locks are lost by a pause."""
LINES = 1000
"""More than a world runs between its lock and its request."""
SPINNING = 4
"""Choices after which the orders of a run that spins are not told apart any more."""


PLAIN = Plan()


class Redundant(Exception):
    """Whatever comes next was seen in another order."""


@dataclass
class _Node:
    options: dict[Key, Footprint]
    asleep: dict[Key, Footprint]
    chosen: Key
    tried: dict[Key, Footprint] = field(default_factory=dict)


class Orders:
    """The choices of a systematic search, which it makes anew in each run."""

    def __init__(self) -> None:
        self.nodes: list[_Node] = []
        self._depth = 0
        self.choices: list[int] = []

    def __call__(self, ops: list[Op]) -> int:
        options = {op.key: op.footprint for op in ops}
        if self._depth == len(self.nodes):
            asleep = self._asleep()
            free = [key for key in options if key not in asleep]
            if not free:
                raise Redundant
            self.nodes.append(_Node(options, asleep, free[0]))
        node = self.nodes[self._depth]
        self._depth += 1
        chosen = list(options).index(node.chosen)
        self.choices.append(chosen)
        return chosen

    def _asleep(self) -> dict[Key, Footprint]:
        if not self.nodes:
            return {}
        before = self.nodes[-1]
        done = before.options[before.chosen]
        return {
            key: footprint
            for key, footprint in {**before.asleep, **before.tried}.items()
            if not _conflict(footprint, done, key, before.chosen)
        }

    def forget_beyond(self, depth: int) -> None:
        """Tries no other choices at places deeper than that: for a run in which a program spins, or waits for ever."""
        del self.nodes[depth:]

    def next(self) -> bool:
        """Goes back to the last place with a choice left; False where all were made."""
        self._depth, self.choices = 0, []
        while self.nodes:
            node = self.nodes[-1]
            node.tried[node.chosen] = node.options[node.chosen]
            free = [key for key in node.options if key not in node.tried and key not in node.asleep]
            if free:
                node.chosen = free[0]
                return True
            self.nodes.pop()
        return False


def _conflict(one: Footprint, other: Footprint, first: Key, second: Key) -> bool:
    if first[0] == second[0] or "*" in one or "*" in other:
        return True
    return any(one[name] or other[name] for name in one.keys() & other.keys())


@dataclass
class Found:
    """A broken invariant, and how to see it again."""

    plan: Plan
    choices: tuple[int, ...]
    result: Result
    seed: int | None = None

    def __str__(self) -> str:
        how = f"--seed {self.seed}" if self.seed is not None else f"{self.plan} choices {list(self.choices)}"
        return "\n".join([f"{how}: {'; '.join(self.result.problems)}", *self.result.trace])


def all_orders(plan: Plan) -> Iterator[Found]:
    """Each order of a plan, and how it went."""
    orders = Orders()
    while True:
        try:
            result = Scenario(plan, orders).run()
            yield Found(plan, tuple(orders.choices), result)
            if result.stopped:
                orders.forget_beyond(SPINNING)
        except Redundant:
            pass
        if not orders.next():
            return


def replayed(plan: Plan, choices: tuple[int, ...]) -> Found:
    """A run with a given sequence of choices; what comes after them takes the first option."""
    if plan.store == "disk":
        return on_disk(plan, *choices)
    left = list(choices)
    result = Scenario(plan, lambda ops: min(left.pop(0), len(ops) - 1) if left else 0).run()
    return Found(plan, choices, result)


def plans(
    stores: tuple[str, ...] = ("file", "leased"),
    graces: tuple[float, ...] = (0.0, 30.0),
    faults: Callable[[Fault], bool] = lambda fault: True,
    base: Plan = PLAIN,
) -> Iterator[Plan]:
    """Two worlds, one refresh, one fault: each fault at each operation of world A that it can strike."""
    for store in stores:
        for grace in graces:
            plain = replace(base, store=store, grace=grace)
            labels = operations(plain)
            yield plain
            for fault in FAULTS.values():
                if faults(fault):
                    for at in sorted(n for n, label in labels if label in fault.labels):
                        yield replace(plain, fault=fault.name, at=at)


def operations(plan: Plan) -> set[tuple[int, str]]:
    """What world A does in any order, without a fault: `(number, label)` of each operation."""
    found: set[tuple[int, str]] = set()
    orders = Orders()

    def note(ops: list[Op]) -> int:
        return orders(ops)

    while True:
        scenario = Scenario(replace(plan, fault="", at=0), note)
        seen = scenario.universe.strike

        def strike(op: Op, seen: Callable[[Op], None] = seen) -> None:
            if op.world.number == 0:
                found.add((op.number, op.label))
            seen(op)

        scenario.universe.strike = strike
        with contextlib.suppress(Redundant):
            scenario.run()
        if not orders.next():
            return found


# --- the real file store, on a simulated disk ---

SYSTEM_CALLS = 48
"""About as many as world A makes in a refresh."""


def disk_plans(base: Plan = PLAIN) -> Iterator[Plan]:
    """Each system call of world A, each way in which it can fail."""
    errors = sorted({error for some in DISK_ERRORS.values() for error in some})
    plain = replace(base, store="disk")
    for at in range(1, SYSTEM_CALLS):
        for way in ("kill", "power cut"):
            yield replace(plain, at=at, disk_fault=way)
        for way in DISK_FAULTS[:4]:
            for error in errors:
                yield replace(plain, at=at, disk_fault=way, disk_error=error)
        for error in REFUSED_BY:
            yield replace(plain, at=at, disk_fault=FULL, disk_error=error)


def on_disk(plan: Plan, order: int = 0) -> Found:
    """One run on the simulated disk, its order and what a power cut leaves by chance; order 0: the first of each."""
    chance = random.Random(order)

    def pick(most: int) -> int:
        return chance.randrange(most) if order else 0

    scenario = Scenario(plan, lambda ops: pick(len(ops)))
    scenario.trouble.cut = pick
    return Found(plan, (order,), scenario.run())


def at_each_line(plan: Plan) -> Iterator[Found]:
    """Runs in which world A pauses at each line that it runs between its lock and its request."""
    for line in range(1, LINES):
        found = replayed(replace(plan, line=line), ())
        if not found.result.faults:
            return
        yield found


def like(plan: Plan) -> Iterator[Found]:
    """Runs with the fault of a plan, whichever operation, line or system call it strikes: where that is may move."""
    if plan.line:
        yield from at_each_line(plan)
    elif not plan.fault and not plan.disk_fault and plan.store != "disk":
        yield from all_orders(plan)
    elif plan.disk_fault == "always":
        yield on_disk(plan)
    elif plan.disk_fault:
        yield from (on_disk(replace(plan, at=at)) for at in range(1, SYSTEM_CALLS))
    elif plan.store in ("disk", "redis"):  # where all orders are too many
        yield from (on_disk(replace(plan, at=at), order) for at in range(1, 12) for order in range(4))
    else:
        for at in sorted(n for n, label in operations(plan) if label in FAULTS[plan.fault].labels):
            yield from all_orders(replace(plan, at=at))


# --- random runs ---


def random_run(seed: int, only: Callable[[Fault], bool] = lambda fault: True) -> Found:
    """The run of a seed: its plan, its faults and its order."""
    chance = random.Random(seed)
    plan = Plan(
        store=chance.choice(("file", "leased", "leased", "disk", "redis")),
        grace=chance.choice((0.0, 0.0, 30.0)),
        starts=tuple(_starts(chance) for _ in range(chance.choice((1, 2, 2, 3)))),
        expires_in=chance.choice((-1.0, -1.0, 1.0, 20.0, 4000.0)),
        life=chance.choice((3600.0, 3600.0, 15.0)),
        latency=chance.choice((0.0, 0.0, 0.0, 2.0, 12.0)),
        hook=chance.choice(("", "", "call", "other")),
        linger=chance.choice((0.0, 6.0, 60.0)),
        ending=chance.choice(("run", "run", "close", "exit")),
    )
    plan = _with_programs(plan, random.Random(f"programs of {seed}"))
    if plan.objects == "machine":
        people = only
        only = lambda fault: people(fault) and not fault.name.startswith(("admin", "other"))  # noqa: E731
    rate, left = chance.choice((0.05, 0.15, 0.4)), [chance.choice((1, 2, 3))]
    able = {
        label: [f for f in FAULTS.values() if label in f.labels and only(f)]
        for label in ("load", "save", "replace", "lock", "token", "reply", "api", "thread", "delete", "revoke", *REDIS)
    }
    disk_rate = chance.choice((0.0, 0.01, 0.03))

    def extra(scenario: Scenario, op: Op) -> Fault | None:
        if left[0] and able.get(op.label) and chance.random() < rate:
            left[0] -= 1
            return chance.choice(able[op.label])
        return None

    def trouble(call: str) -> tuple[str, str] | None:
        if left[0] and call in DISK_ERRORS and chance.random() < disk_rate:
            left[0] -= 1
            way = chance.choice(DISK_FAULTS)
            errors = tuple(REFUSED_BY) if way == FULL else DISK_ERRORS[call]
            return way, chance.choice(errors) if way not in ("kill", "power cut") else ""
        return None

    scenario = Scenario(plan, lambda ops: chance.randrange(len(ops)), extra)
    scenario.trouble.chance, scenario.trouble.cut = trouble, chance.randrange
    return Found(plan, (), scenario.run(), seed)


def _with_programs(plan: Plan, chance: random.Random) -> Plan:
    """In every second run, programs that do more than call, with other objects and loops."""
    if plan.store in LEASES and chance.random() < 0.1:
        plan = replace(plan, line=chance.randrange(1, LINES), suspended=chance.random() < 0.5)
    rare = chance.random()
    if rare < 0.5:
        return plan
    if rare < 0.53:
        return replace(plan, objects="machine", hook="")
    if rare < 0.56:
        return replace(plan, client=chance.choice(("id", "endpoint")))
    # to keep fresh, the others lack what their index needs
    able: tuple[str, ...] = WORKS if plan.store in ("file", "leased") else WORKS[:-1]
    copies = [name for name in COPIES if (plan.store, name) != ("redis", "deepcopy")]
    objects = chance.choice(("one", "one", "each", "each", *copies, *["file"] * 4 * (plan.store == "disk")))
    if objects == "file":  # a program whose user file is gone writes its own tokens anew
        able = tuple(work for work in able if work != "revoke")
    works = tuple(chance.choice(("call", "call", *able)) for _ in range(chance.choice((1, 2, 3, 5))))
    process = chance.choice(("each", "again") if plan.store == "disk" else ("each", "threads", "again"))
    ending = plan.ending if process == "each" else "run"
    offsets = tuple(chance.choice((0.0, 0.0, 100.0, -100.0, 7200.0, -7200.0)) for _ in plan.starts)
    dated = chance.random() < 0.5
    return replace(plan, works=works, objects=objects, process=process, ending=ending, offsets=offsets, dated=dated)


def _starts(chance: random.Random) -> tuple[float, ...]:
    return tuple(chance.choice((0.0, 0.0, 0.5, 3.0, 20.0, 31.0, 62.0)) for _ in range(chance.choice((1, 1, 2, 4))))
