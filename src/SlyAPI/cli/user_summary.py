"""What can be shown of a user's grant, as text and for `--json`.

The rule: no secret; imports neither network nor event loop, which `show` does not need.
"""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ..tokens.scopes import missing_scopes

if TYPE_CHECKING:
    from ..oauth2 import OAuth2User

COLUMN = 13
"""Where the texts of `show` begin."""
_RENEWED = "not needed: the client gets a new token by itself"


def summary(user: "OAuth2User | SimpleNamespace") -> dict[str, Any]:
    """Scopes and times of a user, for `--json`; `bound` where the token is bound to a key (RFC 9449)."""
    return {
        "scopes": user.scopes,
        "missing_scopes": _missing(user),
        "expires_at": None if user.expires_at is None else user.expires_at.isoformat(),
        "refreshable": bool(user.refresh_token),
        "refresh_expires_at": None if user.refresh_expires_at is None else user.refresh_expires_at.isoformat(),
    } | ({"bound": "DPoP"} if user.dpop_key else {})


def summary_rows(user: "OAuth2User | SimpleNamespace") -> list[tuple[str, str]]:
    """The same as rows of text, for `print_table` with `COLUMN`."""
    rows = [("scopes:", " ".join(user.scopes) or "none recorded")]
    if missing := _missing(user):
        rows.append(("not granted:", " ".join(missing)))
    rows.append(("expires:", when(user.expires_at)))
    ends = f", until {when(user.refresh_expires_at)}" if user.refresh_expires_at else ""
    machine = (user.extra or {}).get("grant_type") == "client_credentials"
    rows.append(("refreshable:", f"yes{ends}" if user.refresh_token else _RENEWED if machine else "no"))
    return [*rows, ("bound:", "to the key in it (DPoP)")] if user.dpop_key else rows


def _missing(user: "OAuth2User | SimpleNamespace") -> list[str]:
    return missing_scopes(user.requested_scopes or [], user.scopes, renewable=bool(user.refresh_token))


def when(at: datetime | None) -> str:
    """A time in UTC, and how far away it is."""
    if at is None:
        return "unknown (the provider did not say)"
    left = at - datetime.now(UTC)
    text = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    if left < timedelta(0):
        return f"{text} (expired)"
    hours, rest = divmod(int(left.total_seconds()), 3600)
    if hours >= 48:
        return f"{text} (in {hours // 24} days)"
    return f"{text} (in {hours} h {rest // 60} min)" if hours else f"{text} (in {rest // 60} min {rest % 60} s)"
