"""What there is of a user that is no secret, and who is in a store: show.

The rule: for a user file it needs neither network nor event loop, and imports nothing that does; prompts
and scripts run it.
"""

import os
import shlex
import stat
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, CredentialsNotFoundError, printable
from ..flow.console import Console
from ..json_file import display_path, read_json_file
from ..tokens.recognise import recognise
from ..tokens.scopes import missing_scopes
from ..tokens.user_json import user_fields
from .results import print_json, print_result

if TYPE_CHECKING:
    from ..oauth2 import OAuth2User


def described(user: "OAuth2User | SimpleNamespace") -> dict[str, Any]:
    """What is no secret of a user, for `--json`."""
    return {
        "scopes": user.scopes,
        "missing_scopes": missing_scopes(user.requested_scopes or [], user.scopes),
        "expires_at": None if user.expires_at is None else user.expires_at.isoformat(),
        "refreshable": bool(user.refresh_token),
        "refresh_expires_at": None if user.refresh_expires_at is None else user.refresh_expires_at.isoformat(),
    }


def show(args: Any, console: Console) -> int:
    """Scopes and expiry of a user without secret, of a file its mode; of a store alone its users' names."""
    if args.expiring is not None and (args.user or args.name):
        step = "Give --store URL, and neither USER.json nor --name."
        raise ConfigError("--expiring is about a whole store.", next_step=step)
    if args.user and not (args.store or args.name):
        return _show_file(args, console)
    from .chosen_user import chosen_user  # and the stores with it

    if not args.user and not args.name:
        return _show_names(args, console)
    chosen = chosen_user(args)
    user = chosen.load()
    if args.json:
        print_json(True, {**chosen.told, **described(user)})
    else:
        print_result("\n".join([f"user:        {chosen.label}", *_lines(user)]))
    return 0


def _show_file(args: Any, console: Console) -> int:
    path, name = args.user, display_path(args.user)
    try:
        told = read_json_file(path)
    except CredentialsNotFoundError as error:
        error.next_step = error.next_step or "Make one with: python -m SlyAPI grant"
        raise
    if isinstance(told, dict) and recognise(told) == "an OAuth 1 user file":
        from ..oauth1.user import OAuth1User  # rare, and as dear as the rest of this command

        OAuth1User.from_json_obj(told, name)
        what, lines = {"kind": "oauth1"}, ["kind:        OAuth 1: without scopes, and without an end that is known"]
    else:
        user = SimpleNamespace(**user_fields(told, time.time(), name))
        what, lines = described(user), _lines(user)
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if args.json:
        print_json(True, {"user": path, **what, "mode": f"{mode:04o}"})
        return 0
    print_result("\n".join([f"user file:   {name} (mode {mode:04o})", *lines]))
    if mode & 0o077 and os.name == "posix":
        mend = f"    chmod 600 {shlex.quote(name)}"
        console.say("Careful: others on this machine may read it. Mend that with:", mend)
    return 0


def _lines(user: "OAuth2User | SimpleNamespace") -> list[str]:
    lines = [f"scopes:      {' '.join(user.scopes) or 'none named'}"]
    if missing := missing_scopes(user.requested_scopes or [], user.scopes):
        lines.append(f"not granted: {' '.join(missing)}")
    lines.append(f"expires:     {when(user.expires_at)}")
    ends = f", until {when(user.refresh_expires_at)}" if user.refresh_expires_at else ""
    return [*lines, f"refreshable: {f'yes{ends}' if user.refresh_token else 'no'}"]


def _show_names(args: Any, console: Console) -> int:
    """The names of a store's users, one a line: all, or those whose refresh token ends within `--expiring` days."""
    from .chosen_user import chosen_store, names_in

    store = chosen_store(args)
    names = names_in(store, args.expiring)
    if args.json:
        print_json(True, {"names": names})
    elif names:
        print_result("\n".join(printable(name, 200) for name in names))
    else:
        days = f"{args.expiring:g} day{'' if args.expiring == 1 else 's'}" if args.expiring is not None else ""
        console.say(f"{store!r} has no user{days and f' whose refresh token is known to end within {days}'}.")
    return 0


def when(at: datetime | None) -> str:
    """A moment, and how far away it is."""
    if at is None:
        return "not told by the provider"
    left = at - datetime.now(UTC)
    shown_at = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    if left < timedelta(0):
        return f"{shown_at} (expired)"
    hours, rest = divmod(int(left.total_seconds()), 3600)
    if hours >= 48:
        return f"{shown_at} (in {hours // 24} days)"
    return f"{shown_at} (in {hours} h {rest // 60} min)" if hours else f"{shown_at} (in {rest // 60} min {rest % 60} s)"
