"""Failures on demand: the next requests to an endpoint are refused as a test says.

The rule: a fault is data, used up by the requests it is for.
"""
from __future__ import annotations

from dataclasses import dataclass

from .ledger.grants import Refused

ERRORS = {429: "temporarily_unavailable", 500: "server_error", 503: "temporarily_unavailable"}


@dataclass
class Fault:
    """A refusal for the next `times` requests to an endpoint, or to one below it (`api` is for all of the API)."""

    endpoint: str
    status: int
    error: str
    headers: dict[str, str]
    times: int
    fired: bool = False


def reaches(planned: str, endpoint: str) -> bool:
    """Whether a fault at `planned` is for this endpoint: the same path, or one above it; `{name}` is any segment."""
    wanted, path = planned.split("/"), endpoint.split("/")
    return len(wanted) <= len(path) and all(
        one == other or other.startswith("{") for one, other in zip(wanted, path, strict=False)
    )


def take(faults: list[Fault], endpoint: str) -> None:
    """Refuse this request if a fault is planned for it; the first one planned counts."""
    for planned in faults:
        if reaches(planned.endpoint, endpoint):
            planned.fired = True
            planned.times -= 1
            if planned.times <= 0:
                faults.remove(planned)
            refused = Refused(planned.error, "a test asked for this failure", planned.status)
            refused.headers.update(planned.headers)
            raise refused
