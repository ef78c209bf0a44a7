"""The practice provider in a process of its own, for a fleet: each line it reads it answers with a line of JSON.

    python provider.py '{"access_token_lifetime": 1.0, ...}' [LEAST MOST] TASKS

The first line says where it listens, each further one is a report: counts, and the digests of the refresh
tokens that are live. With LEAST and MOST, all access tokens are revoked again and again, and DPoP nonces replaced where
they are demanded, after a random number of seconds between the two, and when each of the TASKS has had an answer since
the last time: SlyAPI repeats a call once, so a token has to live as long as a refresh and a call of the slowest one.
"""
from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from typing import Any

from SlyAPI.testing import PracticeProvider


class Watched:
    """A provider, and what happened to it."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.provider = PracticeProvider(consent="allow", delay_after_rotation=0.05, **settings)
        self.revocations = 0
        self.answered: set[str] = set()
        """The tasks that had an answer since the last revocation, by the name that they send along."""
        self.outcomes: Counter[str] = Counter()

    async def revoke_at_random(self, least: float, most: float, tasks: float) -> None:
        while True:
            self._count()
            self.answered.clear()
            await asyncio.sleep(random.uniform(least, most))
            while len(self.answered) < tasks:
                await asyncio.sleep(0.01)
                self._count()
            self.provider.revoke_access_tokens()
            if self.provider.dpop_nonces:
                self.provider.demand_dpop_nonces()
            self.revocations += 1

    async def read_log(self) -> None:
        """Counts what the log says and empties it: in ten minutes it would fill the memory."""
        while True:
            self._count()
            await asyncio.sleep(1)

    def _count(self) -> None:
        for seen in self.provider.log:
            if seen.status:
                self.outcomes[f"{seen.endpoint}: {seen.outcome}"] += 1
            if seen.status == 200 and "task" in seen.parameters:
                self.answered.add(seen.parameters["task"])
        self.provider.log[:] = [seen for seen in self.provider.log if not seen.status]

    def report(self) -> dict[str, Any]:
        self._count()
        ledger = self.provider.ledger
        return {
            "refreshes": self.provider.refreshes,
            "reuses": self.provider.reuses,
            "forgiven": self.provider.forgiven,
            "revocations": self.revocations,
            "outcomes": self.outcomes,
            "live": [key for key, token in ledger.refresh_tokens.items() if token.state == "live"],
        }


def say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def main(settings: str, *between: str) -> None:
    watched = Watched(json.loads(settings))
    async with watched.provider.running() as origin, asyncio.TaskGroup() as tasks:
        work = [tasks.create_task(watched.read_log())]
        if len(between) == 3:
            work.append(tasks.create_task(watched.revoke_at_random(*map(float, between))))
        say({"origin": origin})
        while await asyncio.to_thread(sys.stdin.readline):
            say(watched.report())
        for task in work:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
