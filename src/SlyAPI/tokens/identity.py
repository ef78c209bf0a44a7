"""Who a person is, as a value that a user file keeps. Pure.

The rule: only what was verified (`oauth2/messages/identity.py`) becomes an `Identity`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from ..errors import clean_traceback
from .times import read_time, write_time


@dataclass(frozen=True)
class Identity:
    """Who a person is: `issuer` and `subject` together name one person for good; an e-mail address does not.

    `claims` are those of the id_token; `authenticated_at` (aware, UTC) is when the person signed in, or None.
    """

    __module__ = "SlyAPI.oauth2"

    issuer: str
    subject: str
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    authenticated_at: datetime | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The identity as a user file has it."""
        at = None if self.authenticated_at is None else write_time(self.authenticated_at)
        return {"issuer": self.issuer, "subject": self.subject, "claims": {**self.claims}, "authenticated_at": at}

    @classmethod
    @clean_traceback
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The identity that `to_dict` wrote, as `user_json.read_identity` checked it."""
        return cls(value["issuer"], value["subject"], {**value["claims"]}, read_time(value.get("authenticated_at")))
