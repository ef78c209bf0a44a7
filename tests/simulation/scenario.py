"""One run: programs, a store and a provider, what strikes them, and what must hold of it whatever happens.

The rule: a run is a function of its `Plan` and of the choices of its chooser, so both together replay it.
"""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.simulation import http, redis_seam
from tests.simulation.disk import Disk
from tests.simulation.disk_trouble import Trouble
from tests.simulation.faults import ENDING, FAULTS, LEASE, REDIS, STORE, WRITES, Fault, refused
from tests.simulation.lines import LinePause
from tests.simulation.packages import package
from tests.simulation.programs import Program
from tests.simulation.provider import Grant, Provider
from tests.simulation.quiet import without_collector
from tests.simulation.stores import Shelf, free_locks_of
from tests.simulation.universe import Chooser, Op, Stopped, Universe
from tests.simulation.worlds import Process, World

PATIENCE = 300.0
"""Seconds after which a call, or the end of a program, has waited for ever."""
HOLD_UP = 10.0
"""Seconds for which a lock whose holder has died may be held."""
STILL = 8.0
"""Seconds for which a holder's event loop may stand still without loss."""
LAST_TRY = 5.0
"""Seconds for which a store has to work before all programs end, so that what was rotated is in it."""


@dataclass(frozen=True)
class Plan:
    """What a run is about. `fault` strikes operation number `at` of world A; `extra` strikes others: see `explore`."""

    store: str = "file"
    grace: float = 0.0
    starts: tuple[tuple[float, ...], ...] = ((0.0,), (0.0,))
    """For each world, when its calls begin: seconds from the start."""
    expires_in: float = -1.0
    """Seconds until the stored access token ends; negative: it has ended."""
    life: float = 3600.0
    """Seconds for which a new access token is good."""
    latency: float = 0.0
    """Seconds that each reply of the token endpoint takes."""
    hook: str = ""
    """What `on_refresh` does: nothing, "call" the API, or "other": call it with an object of its own."""
    fault: str = ""
    at: int = 0
    disk_fault: str = ""
    """How system call number `at` of world A goes wrong (`faults.DISK_FAULTS`), and by which error."""
    disk_error: str = ""
    objects: str = "one"
    """Whether all calls of a program use "one" client, or "each" its own; "file": one, with the path of a user file;
    "machine": one, whose tokens need no person and are not there yet; or each a copy by one of `programs.COPIES`."""
    users: int = 1
    """Who calls: one user, or (`crowd`) so many in turn."""
    client: str = ""
    """Whether the client file of world B is a wrong one: another "id" or another "endpoint"."""
    line: int = 0
    """World A pauses at that line after its lock, if it comes before its request; `suspended`: the machine does."""
    suspended: bool = False
    works: tuple[str, ...] = ("call",)
    """What the calls do, one after the other (`programs.WORKS`)."""
    process: str = "each"
    """What is a process: "each" world; all, as "threads"; or a world and one that runs after it, "again"."""
    offsets: tuple[float, ...] = (0.0,)
    """Seconds by which the clocks of the processes are ahead, one after the other."""
    dated: bool = False
    """Whether the provider's replies have a `Date`."""
    linger: float = 60.0
    """Seconds that a program goes on after its last call."""
    ending: str = "run"


@dataclass
class Result:
    """How a run went."""

    problems: list[str]
    trace: list[str]
    faults: list[str]
    """The faults that struck, in their order."""
    stopped: bool = False
    outcomes: list[str] = field(default_factory=list)


class Scenario:
    """The state of one run."""

    def __init__(self, plan: Plan, choose: Chooser, extra: "Callable[[Scenario, Op], Fault | None] | None" = None):
        self.plan = plan
        self.universe = Universe(choose)
        self.provider = Provider(self.universe, plan.grace, plan.life)
        self.shelf = Shelf(wrote=self._wrote)
        self.disk = Disk(self._wrote)
        self.disk.file_is_mounted = plan.disk_fault == "always" and plan.disk_error == "EBUSY"
        self.redis = redis_seam.Server(self)
        self.trouble = Trouble(self)
        self.refusals: list[Any] = []
        self.saves_work_from = 0.0
        self.faults: list[str] = []
        self._stopped = False
        self._fault = FAULTS[plan.fault] if plan.fault else None
        self._extra = extra
        self._after: dict[Op, Fault] = {}
        self._deleted_at: float | None = None
        self._last_op: dict[str, str] = {}
        """The last operation of each world on its store."""
        self._locked_at: dict[str, int] = {}
        self.full_from, self.full_until = 0, 0.0
        """While writes to the store are refused: since which moment, and until when."""
        self._moments = itertools.count(1)
        self._deadline = self.universe.now + 2 * PATIENCE
        self._done_at: dict[str, float] = {}
        self.universe.strike, self.universe.after = self._strike, self._strike_after
        self.universe.will_strike = self._is_target
        self.universe.each_callback = plan.store == "disk"
        self.provider.spent_in_vain = self._spent_in_vain

    # --- faults ---

    def _is_target(self, op: Op) -> bool:
        plan = self.plan
        if op.label == "reply":
            op.not_before = self.universe.now + plan.latency
        return op.world.number == 0 and op.number == plan.at and self._fault is not None

    def _strike(self, op: Op) -> None:
        # with several objects, a refresh that lost its lease runs at the same time as the one that locks now
        several = self.plan.objects == "each" or "keep fresh" in self.plan.works or self.plan.process != "each"
        if op.label in ("lock", "lease") and not several:
            self.provider.blind.discard(op.world.name)
        if not op.struck:
            fault = None
            if self._fault is not None and self._is_target(op) and op.label in self._fault.labels:
                fault = self._fault
            elif self._extra is not None:
                fault = self._extra(self, op)
            if fault is not None:
                op.struck = True
                self.note_fault(fault.name, repr(op))
                if fault.after:
                    self._after[op] = fault
                else:
                    fault.strike(self, op)
        refused(self, op)

    def note_fault(self, name: str, where: str) -> None:
        self.faults.append(name)
        self.universe.say(f"fault: {name} at {where}")

    def note_lock(self, world: World) -> None:
        self._locked_at[world.name] = next(self._moments)

    def _strike_after(self, op: Op) -> None:
        if op.label in (*STORE, *REDIS):
            self._last_op[op.world.name] = op.label
        if op.label in ("lock", "lease"):
            self.note_lock(op.world)
            if self.plan.line and op.world.number == 0 and "line" not in "".join(self.faults):
                LinePause(self, op.world, self.plan.line, suspended=self.plan.suspended)
        fault = self._after.pop(op, None)
        if fault is not None:
            fault.strike(self, op)

    def pause(self, world: World, seconds: float, *, suspended: bool = False) -> None:
        """A leased lock is lost by a long pause, or by two.

        The world has to notice that before its request, but for a pause between the write that shows that it can
        save (a compare-and-set, which also shows that nobody else did) and the request itself.
        """
        together = world.paused_for + seconds
        if (self.plan.store == "leased" and seconds >= LEASE) or (self.plan.store == "redis" and together > STILL):
            for each in world.process.worlds:
                self.provider.excuse(each, "it was paused for longer than its lease")
                if self._last_op.get(each.name) in WRITES:
                    self.provider.blind.add(each.name)
        self.saves_work_from = max(self.saves_work_from, self.universe.now + seconds)  # for this program
        world.pause(seconds, suspended=suspended)

    def full(self, seconds: float) -> None:
        """From now on writes are refused, and a program that locks could know."""
        if self.full_until <= self.universe.now:
            self.full_from, self.full_until = next(self._moments), self.universe.now + seconds
        self.saves_work_from = max(self.saves_work_from, self.full_until)

    def _spent_in_vain(self, world: World) -> bool:
        """Whether a world sends what it cannot save, unless tokens of its process wait to be saved already."""
        waiting = any(r.world.process is world.process and not r.saved for r in self.provider.rotations)
        is_full = self.full_until > self.universe.now and self._locked_at.get(world.name, 0) > self.full_from
        return is_full and not waiting

    def admin_deletes(self) -> None:
        self.universe.say("the administrator deletes the user")
        self._deleted_at = self.universe.now
        self._put("admin", None)

    def admin_grants(self) -> None:
        self.universe.say("the administrator has the user grant anew")
        self._deleted_at = None
        self._put("admin", json.dumps(self.provider.user(self.plan.expires_in)))

    def admin_notes(self) -> None:
        """Another program adds a member of its own to the stored value, whose tokens stay.

        On the disk in place: a program that replaces the file, and takes no lock, ends the lock on it.
        """
        text = self._text()
        if text is not None:
            self.universe.say("the administrator notes something in the stored user")
            text = json.dumps({**json.loads(text), "note": "of the administrator"})
            if self.plan.store == "disk":
                self.disk.put_in_place("admin", text)
            else:
                self._put("admin", text)

    def admin_rewrites(self) -> None:
        """A program that takes no lock writes what it read: beside the file, which it replaces, or into it."""
        text = self._text()
        if text is not None:
            self.universe.say("the administrator rewrites the stored user")
            self._put("admin", text)

    def other_person(self, *, ended: bool) -> None:
        """Somebody else signs in, whose grant may end before it is renewed."""
        self.universe.say("another person signs in" + ", whose grant ends" * ended)
        self._deleted_at = None
        grant = Grant(person="bob")
        self._put("admin", json.dumps(self.provider.user(10.0, grant)))
        if ended:
            self.universe.later.append((self.universe.now + 5.0, partial(setattr, grant, "alive", False)))

    def _text(self) -> str | None:
        return self.disk.text() if self.plan.store == "disk" else self.shelf.values.get("alice")

    def _put(self, owner: object, text: str | None) -> None:
        if self.plan.store == "disk":
            self.disk.put(owner, text)
        else:
            self.shelf.write(owner, "alice", text)

    # --- invariants ---

    def _problem(self, invariant: str, what: str) -> None:
        self.universe.say(f"  VIOLATION ({invariant}): {what}")
        self.provider.problems.append(f"{invariant}: {what}")

    def _wrote(self, owner: object, name: str, old: str | None, new: str | None) -> None:
        """No older value replaces a newer one, and nobody brings back who was deleted."""
        was, now = _refresh_token(old), _refresh_token(new)
        for rotation in self.provider.rotations:
            if rotation.new == now:
                rotation.saved = True
        if isinstance(owner, World) and new is None:
            self._deleted_at = self.universe.now
            # a login in the moment before the deletion cannot be distinguished
            known = self.provider.revoked_at.get(owner.name, 0)
            if was is not None and self.provider.serials[was] <= known and self.provider.grants[was].alive:
                self._problem("revoked", f"{owner.name} deletes {was}, whose grant was not revoked")
        if not isinstance(owner, World) or now is None:
            return
        serials, grants = self.provider.serials, self.provider.grants
        if was is not None and serials[now] < serials[was]:
            self._problem("older", f"{owner.name} replaces {was} by {now}")
        if was is not None and grants[now].person != grants[was].person:
            self._problem("person", f"{owner.name} replaces {was} of {grants[was].person} by {now}")
        if owner.name in self.provider.strangers and old != new:
            self._problem("client", f"{owner.name} saves tokens of another client")
        if old is None and self._deleted_at is not None and self.plan.objects != "file":  # which is written anew
            self._problem("older", f"{owner.name} brings back the deleted user with {now}")

    def _gone(self, world: World) -> None:
        """What a program that is gone may have lost without fault of its own."""
        free_locks_of(self.shelf, world)
        self.disk.close_all_of(world)
        assert world.gone is not None
        if world.crashed:
            self.provider.excuse(world, "it died")
        elif self.saves_work_from > max(world.gone, (world.asked_to_end or 0.0) + LAST_TRY) - LAST_TRY:
            for rotation in self.provider.rotations:
                if rotation.world is world and not rotation.saved:
                    rotation.given_up = world.process
        else:
            for rotation in self.provider.rotations:
                if rotation.world is world and not rotation.saved:
                    rotation.fate = f", and ended before the {'save' if rotation.received else 'reply'}"

    def _check_stored(self) -> None:
        """What the provider rotated is stored."""
        text = self._text()
        if text is None:
            return
        stored = _refresh_token(text)
        if stored is None:
            return None if self.plan.objects == "machine" else self._problem("stored", f"it is torn: {text!r:.60}")
        lost = [r for r in self.provider.rotations if r.old == stored]
        if lost and not any(r.excuse or r.given_up for r in lost) and not self.provider.is_good(stored):
            first = lost[0]
            had = f"{first.new} is lost, {first.world.name} had it{first.fate}"
            self._problem("stored", f"{stored} is in the store, {had}")

    def _check_dead_holder(self) -> None:
        """A program that died with the lock in hand holds up the others for seconds."""
        died = [world.gone for world in self.universe.worlds if world.crashed and world.gone is not None]
        if not died or self.plan.store == "leased" or not self.plan.fault.startswith("crash"):
            return  # how long a lease of the simulated store is, is the simulation's own affair
        for world in self.universe.worlds:
            for call in world.calls:
                if call.ended is not None and not world.crashed and call.ended - max(call.started, min(died)) > HOLD_UP:
                    self._problem("dead holder", f"a call of {world.name} waits for the lock of a dead program")

    def _check_ended(self) -> None:
        """A grant has ended where the provider says so, in whatever words, and nowhere else."""
        if self.plan.objects == "machine":
            return  # nobody granted it anything
        for world in self.universe.worlds:
            answer = self.provider.refusals.get(world.name)
            ending = answer in [body for _, body in ENDING.values()]
            outcomes = {call.outcome for call in world.calls}
            heard = {other.name for other in world.process.worlds} & self.provider.ended
            if "GrantEndedError" in outcomes and not ending and not heard:
                self._problem("ended", f"{world.name} takes a refusal that may pass for the end of the grant")
            other = outcomes & {"TokenError", "BadReplyError"} and "GrantEndedError" not in outcomes
            if ending and len(self.plan.starts) == 1 and other:
                self._problem("ended", f"{world.name} does not understand that the grant has ended")

    def _check_writable(self) -> None:
        """A file that can never be replaced is noticed before the provider is asked."""
        if self.plan.disk_fault == "always" and self.provider.rotations:
            self._problem("unwritable", "the provider was asked, though the new tokens could never be saved")

    def _check_one_request(self) -> None:
        """Programs that begin with the same missing tokens send one request."""
        asked = len(self.provider.requests)
        if self.plan.objects == "machine" and asked > 1 and not self.faults and self.plan.life > PATIENCE:
            self._problem("bounded", f"{asked} requests for one machine token")

    def _check_calls(self) -> None:
        paused = sum(world.paused_for for world in self.universe.worlds)
        for world in self.universe.worlds:
            for call in world.calls:
                ended = call.ended if call.ended is not None else world.gone or self.universe.now
                if call.started and ended - call.started > PATIENCE + paused:
                    self._problem("for ever", f"call {call.number} of {world.name} took {ended - call.started:g} s")

    def _check_refused(self) -> None:
        """No call ends with a token that the API refuses as expired, whose end the program could have seen."""
        strange = ("api", "storm", "clock", "pause", "suspend", "late", "admin", "other", "token ending")
        if any(fault.startswith(strange) for fault in self.faults) or any(self.plan.offsets) or self.plan.line:
            return
        for world in self.universe.worlds:
            for call in world.calls:
                if call.outcome == "ApiError" and not self.provider.revoked_at and not self.plan.client:
                    self._problem("refused", f"call {call.number} of {world.name} ends with an expired token")

    # --- the run ---

    def run(self) -> Result:
        """Runs it, and judges."""
        with without_collector(), redis_seam.clients_of(self), http.sessions_of(self) as session:
            try:
                self._begin(session)
                self.universe.alarms.append(self._deadline)
                self.universe.run(self._over)
            except Stopped as stopped:
                self._stopped = True
                self._problem(*str(stopped).split(": "))
            finally:
                if not self._stopped:  # else it was cut short in the middle of things
                    self._check_stored()
                    self._check_calls()
                    self._check_dead_holder()
                    self._check_ended()
                    self._check_writable()
                    self._check_one_request()
                    self._check_refused()
                self.universe.over = True
                for world in self.universe.worlds:
                    world.sweep()
                    world.process.package.restore()
        outcomes = [f"{w.name}{c.number}: {c.outcome or 'gone'}" for w in self.universe.worlds for c in w.calls]
        return Result(self.provider.problems, self.universe.trace, self.faults, self._stopped, outcomes)

    def _begin(self, session: Callable[[], Any]) -> None:
        if self.plan.objects != "machine":
            self._put("admin", json.dumps(self.provider.user(self.plan.expires_in)))
        for number in range(1, self.plan.users):
            self.shelf.write("admin", f"user{number}", json.dumps(self.provider.user(self.plan.expires_in)))
        works = itertools.cycle(self.plan.works)
        program: Program | None = None
        for number, starts in enumerate(self.plan.starts):
            calls = [(start, next(works)) for start in starts]
            thread = number > 0 and self.plan.process == "threads"
            offset = self.plan.offsets[number % len(self.plan.offsets)]
            process = self.universe.worlds[0].process if thread else Process(package(number), offset)
            world = self._world(process)
            if program is None or not thread:
                program = Program(self, world, session(), self.plan.client if number == 1 else "")
            runs = [calls[::2], calls[1::2]] if self.plan.process == "again" else [calls]
            program.begin(world, runs.pop(0))
            if runs and runs[0]:
                world.on_gone.append(partial(self._run_again, program, runs[0]))

    def _world(self, process: Process) -> World:
        world = World(self.universe, process, len(self.universe.worlds))
        world.on_gone.append(self._gone)
        return world

    def _run_again(self, program: Program, calls: list[tuple[float, str]], world: World) -> None:
        """A program that calls `asyncio.run` once more, with the same objects."""
        if not world.crashed and world.how != "exit":
            program.begin(self._world(world.process), calls)

    def _over(self) -> bool:
        now, over = self.universe.now, True
        for world in self.universe.worlds:
            if not world.alive:
                continue
            over = False
            if world.asked_to_end is None and all(call.task is None or call.task.done() for call in world.calls):
                done = self._done_at.setdefault(world.name, now)
                if now >= done + self.plan.linger:
                    world.end(self.plan.ending)
                elif done == now:
                    self.universe.alarms.append(now + self.plan.linger)
        if not over and now >= self._deadline + sum(world.paused_for for world in self.universe.worlds):
            raise Stopped("for ever: programs that should have ended go on")
        return over


def _refresh_token(text: str | None) -> str | None:
    """Of a stored value; None where there is none, or half of one."""
    try:
        return json.loads(text or "{}").get("refresh_token")  # type: ignore[no-any-return]
    except ValueError:
        return None
