"""Shows what is not secret of a user, and who is in a store: show.

The rule: for a user file it neither uses nor imports network and event loop; shell prompts run it.
"""

import os
import re
import stat
import time
from types import SimpleNamespace
from typing import Any

from ..errors import ConfigError
from ..flow.console import Console
from ..json_file import display_path, read_json_file
from ..tokens.recognise import MADE_WITH, recognise
from ..tokens.user_json import user_fields
from ..web.next_steps import quoted
from .results import print_json, print_result, print_table
from .user_summary import COLUMN, summary, summary_rows


def show(args: Any, console: Console) -> int:
    """Prints the scopes and expiry of a user, or the names of the users in a store."""
    if args.expiring is not None and (args.user or args.name):
        step = "Give --store URL, without USER.json and --name."
        raise ConfigError("--expiring is for a whole store.", next_step=step)
    account = None
    if args.user and not re.search(r"[/\\.]", args.user):
        from .chosen_user import take_account  # an account's name, and the stores with it

        take_account(args, args.user)
        account = getattr(args, "account", None)
    if args.user and not (args.store or args.name) and (account is None or os.path.lexists(args.user)):
        return show_file(args, console)
    from .chosen_user import chosen_user  # and the stores with it

    if not args.user and not args.name:
        return _show_names(args, console)
    chosen = chosen_user(args)
    user = chosen.load()
    if args.json:
        print_json(True, {**chosen.result, **summary(user)})
    else:
        print_table([("user:", chosen.label), *summary_rows(user)], COLUMN)
    return 0


def show_file(args: Any, console: Console, system: str = os.name) -> int:
    """Prints what is not secret in a user file, and its mode where `system` (`os.name`) has modes."""
    path, name = args.user, display_path(args.user)
    fields = read_json_file(path, made_with=MADE_WITH)
    if isinstance(fields, dict) and recognise(fields) == "an OAuth 1 user file":
        from ..oauth1.user import OAuth1User  # rare, and as expensive to import as the rest of this command

        OAuth1User.from_json_obj(fields, name)
        what, rows = {"kind": "oauth1"}, [("kind:", "OAuth 1 (no scopes, no known expiry)")]
    else:
        user = SimpleNamespace(**user_fields(fields, time.time(), name))
        what, rows = summary(user), summary_rows(user)
    mode = f"{stat.S_IMODE(os.stat(path).st_mode):04o}" if system == "posix" else None
    if args.json:
        print_json(True, {"user": path, **what, "mode": mode})
        return 0
    print_table([("user file:", name + (f" (mode {mode})" if mode else "")), *rows], COLUMN)
    if mode and mode[-2:] != "00":
        console.say("Warning: other users of this machine may be able to read it. Fix it with:")
        console.say(f"    chmod 600 {quoted(name)}")
    return 0


def _show_names(args: Any, console: Console) -> int:
    """Prints the names of a store's users: all, or those whose refresh token expires within `--expiring` days."""
    from .chosen_user import chosen_store, names_in

    store = chosen_store(args)
    names = names_in(store, args.expiring, console)
    if args.json:
        print_json(True, {"names": names})
    elif names:
        print_result(*names)
    else:
        days = f"{args.expiring:g} day{'' if args.expiring == 1 else 's'}" if args.expiring is not None else ""
        console.say(f"{store!r} has no user{days and f' whose refresh token is known to expire within {days}'}.")
    return 0
