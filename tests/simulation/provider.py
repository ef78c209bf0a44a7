"""A provider with rotating refresh tokens, as strict as RFC 9700 §4.14.2 allows: reuse ends the grant.

The rule: it is the judge, so it shares no code with the client, and remembers who sent what.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from tests.simulation.universe import Universe
from tests.simulation.worlds import EPOCH, OUTSIDE_CALL, Process, World

Answer = tuple[int, dict[str, str], bytes]
CLIENT = "client"
TOKEN_URI = "https://provider.example/token"


@dataclass(eq=False)
class Rotation:
    """One refresh that the provider carried out."""

    old: str
    new: str
    world: World
    at: float
    received: bool = False
    saved: bool = False
    used_saved: bool = False
    """Whether the API saw its access token after it was saved."""
    excuse: str = ""
    """Why the new tokens may be lost: nobody could have kept them."""
    given_up: Process | None = None
    """The process whose event loop ended while the store refused them: it still has them in memory, others do not."""
    fate: str = ""
    """What became of the program that had them, where that is not an excuse."""


@dataclass(eq=False)
class Grant:
    """One consent of the user: the refresh tokens that came from it."""

    alive: bool = True
    person: str = "alice"
    good: set[str] = field(default_factory=set)


class Provider:
    """The token endpoint and the API.

    `grace`: seconds in which a used refresh token is taken once more; `life`: those of an access token.
    """

    def __init__(self, universe: Universe, grace: float, life: float) -> None:
        self.universe, self.grace, self.life = universe, grace, life
        self.serials: dict[str, int] = {}
        self.access: dict[str, float] = {}
        self.grants: dict[str, Grant] = {}
        self.rotations: list[Rotation] = []
        self.problems: list[str] = []
        self.storm_until = 0.0
        """Until then the API says 401, whatever it is shown."""
        self.refusals: dict[str, bytes] = {}
        """The refusal that reached a world last, if no new tokens did since."""
        self.cancelled_tasks = 0
        """How often a fault cancelled a task of ours, which is begun again."""
        self.ended: set[str] = set()
        """Worlds that heard of the end of a grant."""
        self.logins: list[float] = []
        """When tokens of a grant were made."""
        self.wait_until: dict[str, float] = {}
        self.blind: set[str] = set()
        """Worlds that were paused for longer than their lease, until they lock again."""
        self.requests: list[float] = []
        """When token requests came."""
        self.spent_in_vain: Callable[[World], bool] = lambda world: False
        """Whether a world could have known that it cannot save what it asks for."""
        self._refused: set[tuple[str, str]] = set()
        self.strangers: set[str] = set()
        """Worlds whose client file is a wrong one."""
        self._last_request: dict[str, float] = {}
        self._told_new: dict[str, set[str]] = {}
        self._refused_new: dict[str, set[str]] = {}
        self._accepted: set[str] = set()
        self.revoked_at: dict[str, int] = {}
        """The last number that was issued before a world's revocation."""
        self._count = 0

    def issue(self, grant: Grant | None = None) -> tuple[str, str]:
        """New tokens, of a new grant where none is given: `(access, refresh)`."""
        self._count += 1
        access, refresh = f"access-{self._count}", f"refresh-{self._count}"
        grant = grant or Grant()
        grant.good.add(refresh)
        self.grants[refresh], self.serials[refresh] = grant, self._count
        self.access[access] = self.universe.now + self.life
        return access, refresh

    def user(self, expires_in: float, grant: Grant | None = None) -> dict[str, Any]:
        """A user's value, as a login stores it."""
        access, refresh = self.issue(grant)
        self.logins.append(self.universe.now)
        self._refused_new.clear()  # what was learned of the stored tokens ends with them
        return _value(access, refresh, EPOCH + self.universe.now + expires_in)

    # --- the token endpoint ---

    def note_request(self, world: World, form: dict[str, str], client: str) -> str:
        """Judges a token request as it arrives; gives its refresh token."""
        refresh, now = form.get("refresh_token", ""), self.universe.now
        call = OUTSIDE_CALL.get()
        self.requests.append(now)
        if client != CLIENT:
            self._problem("client", f"{world.name} sends {refresh} as client {client!r}")
        if self.spent_in_vain(world) and refresh:
            self._problem("unwritable", f"{world.name} sends {refresh}, though its store has refused each write")
        if form.get("grant_type") == "client_credentials":
            return refresh
        if not refresh:
            self._problem("no credential", f"{world.name} sends a token request without a refresh token")
        if call is not None:
            call.token_requests += 1
            # tokens may expire while a call waits for the store to take them, others may replace refused ones, and
            # each login meanwhile may bring tokens that are due
            more = (now - call.started) // self.life + (world.name in self.ended) + self.cancelled_tasks
            more += sum(login > call.started for login in self.logins)
            if call.token_requests > 2 + more:
                self._problem("bounded", f"call {call.number} of {world.name} costs {call.token_requests} requests")
        if now < self.wait_until.get(world.name, 0.0):
            self._problem("bounded", f"{world.name} asks again before Retry-After is over")
        # two refreshes at once, after a pause beyond the lease: what the first one heard replaces what the second did
        if (world.name, refresh) in self._refused and not world.paused_for:
            self._problem("bounded", f"{world.name} sends {refresh} again, of which it heard that its grant has ended")
        at_once = now - self._last_request.get(world.name, -9e9) < 5.0 and not world.process.clock_offset
        if len(self._refused_new.get(world.name, ())) > 1 and at_once:
            self._problem("bounded", f"{world.name} asks again, though the API refuses new tokens too")
        self._last_request[world.name] = now
        return refresh

    def token(self, world: World, refresh: str) -> tuple[Answer, Rotation | None]:
        """What a refresh request comes to."""
        if not refresh:  # a machine's
            self._count += 1
            self.access[f"access-{self._count}"] = self.universe.now + self.life
            body = {"access_token": f"access-{self._count}", "token_type": "Bearer", "expires_in": self.life}
            return _json(200, body), None
        grant, now = self.grants.get(refresh), self.universe.now
        before = [rotation for rotation in self.rotations if rotation.old == refresh]
        alive = grant is not None and grant.alive
        excused = any(r.excuse or r.given_up not in (None, world.process) for r in before)
        if before and alive and not excused and world.name not in self.blind:
            first = before[0]
            used = f"which {first.world.name} has used up{first.fate}"
            self._problem("sent twice", f"{world.name} sends {refresh}, {used}")
        if grant is None or not grant.alive:
            return self._ended(world, refresh), None
        if refresh not in grant.good:
            grant.alive = False  # RFC 9700 §4.14.2
            return self._ended(world, refresh), None
        if before and now - before[-1].at > self.grace:
            grant.alive = False
            return self._ended(world, refresh), None
        if not self.grace:
            grant.good.discard(refresh)
        access, new = self.issue(grant)
        rotation = Rotation(refresh, new, world, now)
        if world.name in self.blind:
            rotation.excuse = "it was paused for longer than its lease"
        self.rotations.append(rotation)
        for other in [name for name in self._refused_new if name != world.name]:
            del self._refused_new[other]  # the store will change, and what was learned of its tokens ends with that
        self.universe.say(f"  the provider rotates {refresh} to {new}")
        body = {"access_token": access, "refresh_token": new, "token_type": "Bearer", "expires_in": self.life}
        return _json(200, body), rotation

    def _ended(self, world: World, refresh: str) -> Answer:
        self.universe.say(f"  the provider answers invalid_grant for {refresh}")
        return ENDED

    def revoke(self, world: World, refresh: str) -> Answer:
        """What a revocation comes to (RFC 7009)."""
        self.revoked_at[world.name] = self._count
        if world.name in self.strangers:
            self._problem("client", f"{world.name} revokes {refresh}, which is another client's")
        if not refresh:
            self._problem("no credential", f"{world.name} revokes nothing")
        elif refresh in self.grants:
            self.grants[refresh].alive = False
            self.universe.say(f"  the provider ends the grant of {refresh}")
        return 200, {}, b""

    # --- the API ---

    def api(self, world: World, authorization: str) -> Answer:
        """What a call comes to."""
        scheme, _, token = authorization.partition(" ")
        if world.name in self.strangers:
            self._problem("client", f"{world.name} calls the API with {token}, which is another client's")
        for rotation in self.rotations:
            if rotation.new.partition("-")[2] == token.partition("-")[2]:
                rotation.used_saved |= rotation.saved
        if scheme != "Bearer" or not token:
            self._problem("no credential", f"{world.name} calls the API with {authorization!r}")
            return _json(401, {})
        if self.access.get(token, 0.0) > self.universe.now >= self.storm_until:
            self._accepted.add(token)
            return _json(200, {"ok": True})
        new = self._told_new.get(world.name, set()) - self._accepted
        if self.universe.now < self.storm_until and token in new:
            self._refused_new.setdefault(world.name, set()).add(token)
        return _json(401, {"error": "invalid_token"})

    def heard(self, world: World, refresh: str, answer: Answer) -> None:
        """A reply reached the program: it knows from now on if its grant has ended, and how long it has to wait."""
        status, headers, body = answer
        if status < 400:
            self.refusals.pop(world.name, None)
        else:
            self.refusals[world.name] = body
        if status == 429:
            self.wait_until[world.name] = self.universe.now + float(headers.get("Retry-After", 0))
        if answer == ENDED:
            self._refused.add((world.name, refresh))
            self.ended.add(world.name)

    def received(self, rotation: Rotation) -> None:
        """New tokens reached the program."""
        rotation.received = True
        number = rotation.new.partition("-")[2]
        self._told_new.setdefault(rotation.world.name, set()).add(f"access-{number}")

    # --- what may be lost ---

    def excuse(self, world: World, why: str) -> None:
        """What a world had received, or was about to, and not saved, cannot be asked of it any more."""
        for rotation in self.rotations:
            if rotation.world is world and not rotation.saved and not rotation.excuse:
                rotation.excuse = why

    def is_good(self, refresh: str) -> bool:
        grant = self.grants.get(refresh)
        return grant is not None and grant.alive and refresh in grant.good

    def _problem(self, invariant: str, what: str) -> None:
        self.universe.say(f"  VIOLATION ({invariant}): {what}")
        self.problems.append(f"{invariant}: {what}")


def form_of(data: Any) -> dict[str, str]:
    """The fields of a form, given as a mapping or as text."""
    return dict(parse_qsl(data)) if isinstance(data, str) else {str(k): str(v) for k, v in dict(data or {}).items()}


def _value(access: str, refresh: str, expires_at: float) -> dict[str, Any]:
    from datetime import UTC, datetime

    until = datetime.fromtimestamp(expires_at, UTC).isoformat()
    issued_to = {"client": CLIENT, "token_uri": TOKEN_URI}
    value = {"token": access, "refresh_token": refresh, "expires_at": until, "token_type": "Bearer", "scopes": []}
    return {**value, "issued_to": issued_to}


def _json(status: int, body: dict[str, Any], **headers: str) -> Answer:
    return status, headers, json.dumps(body).encode()


ENDED = _json(400, {"error": "invalid_grant"})
"""The answer for a refresh token of a grant that has ended."""
