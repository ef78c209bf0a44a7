"""Failures on demand: the next requests to an endpoint are refused as a test says.

The rule: a fault is data, used up by the requests it is for.
"""
from __future__ import annotations

from dataclasses import dataclass

from .grants import Refused

ERRORS = {429: "temporarily_unavailable", 500: "server_error", 503: "temporarily_unavailable"}


@dataclass
class Fault:
    """A refusal for the next `times` requests to an endpoint, or to one below it (`api` is for all of the API)."""

    endpoint: str
    status: int
    error: str
    headers: dict[str, str]
    times: int


def take(faults: list[Fault], endpoint: str) -> None:
    """Refuse this request if a fault is planned for it; the first one planned counts."""
    for planned in faults:
        if endpoint == planned.endpoint or endpoint.startswith(planned.endpoint + "/"):
            planned.times -= 1
            if planned.times <= 0:
                faults.remove(planned)
            refused = Refused(planned.error, "a test asked for this failure", planned.status)
            refused.headers.update(planned.headers)
            raise refused
