"""From which client and issuer a user's tokens are, where the user file notes it. Pure.

The rule: tokens go to the client and issuer that they are from, and to no other. A file that notes nothing is of the
client that the program gives, as it was with 0.6.
"""

from typing import Protocol, TypeVar

from ...errors import CredentialsError, printable
from ...tokens.user import OAuth2User


class _Client(Protocol):
    id: str
    issuer: str | None


User = TypeVar("User", bound=OAuth2User)


def bound(user: User, app: _Client) -> User:
    """The user with what says from which server and client the tokens are."""
    user.extra = {**(user.extra or {}), "issuer": app.issuer, "client_id": app.id}
    return user


def is_bound(user: OAuth2User, app: _Client) -> bool:
    """Whether the tokens are certainly from this client at this server."""
    extra = user.extra or {}
    return extra.get("client_id") in (None, app.id) and extra.get("issuer") in (None, app.issuer)


def check_bound(user: OAuth2User, app: _Client) -> None:
    """Raises `CredentialsError` for tokens of another client or issuer, where both are known."""
    if not user.extra:
        return
    for name, ours in (("client_id", app.id), ("issuer", app.issuer)):
        theirs = user.extra.get(name)
        if theirs and ours and theirs != ours:
            raise CredentialsError(
                f"The user's tokens are from {printable(theirs, 100)!r} ({name}), and the client is "
                f"{printable(ours, 100)!r}: nothing was sent.",
                next_step="Give the client file of that grant, or grant again with this one.",
            )
