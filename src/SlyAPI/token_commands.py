"""The commands on a user that is there: show, token, refresh, revoke."""

import asyncio
import os
import stat
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

from .chosen_user import ChosenUser, chosen_store, chosen_user
from .errors import CredentialsError, SaveError, printable
from .flow.console import Console, second_ctrl_c_exits
from .flow.wizard import client_in
from .oauth2 import OAuth2, OAuth2User
from .oauth2.token_endpoint import GRANT_AGAIN
from .results import print_json, print_result
from .stores import TokenStore, expiring
from .web import Method, Request


def described(user: OAuth2User) -> dict[str, Any]:
    """What is no secret of a user, for `--json`."""
    return {
        "scopes": user.scopes,
        "missing_scopes": user.missing_scopes,
        "expires_at": None if user.expires_at is None else user.expires_at.isoformat(),
        "refreshable": bool(user.refresh_token),
        "refresh_expires_at": None if user.refresh_expires_at is None else user.refresh_expires_at.isoformat(),
    }


def show(args: Any, console: Console) -> int:
    """Scopes and expiry of a user without secret, of a file its mode; of a store alone its users' names."""
    if not args.user and not args.name:
        return _show_names(args, console)
    chosen = chosen_user(args)
    user = chosen.load()
    mode = stat.S_IMODE(os.stat(chosen.path).st_mode) if chosen.path else None
    if args.json:
        print_json(True, {**chosen.told, **described(user), **({} if mode is None else {"mode": f"{mode:04o}"})})
        return 0
    lines = [f"user:        {chosen.label}" if mode is None else f"user file:   {chosen.label} (mode {mode:04o})"]
    lines.append(f"scopes:      {' '.join(user.scopes) or 'none named'}")
    if user.missing_scopes:
        lines.append(f"not granted: {' '.join(user.missing_scopes)}")
    lines.append(f"expires:     {_when(user.expires_at)}")
    ends = f", until {_when(user.refresh_expires_at)}" if user.refresh_expires_at else ""
    lines.append(f"refreshable: {f'yes{ends}' if user.refresh_token else 'no'}")
    print_result("\n".join(lines))
    if mode is not None and mode & 0o077 and os.name == "posix":
        console.say("Careful: others on this machine may read it. Mend that with:", f"    chmod 600 {chosen.label}")
    return 0


def _show_names(args: Any, console: Console) -> int:
    """The names of a store's users, one a line: all, or those whose refresh token ends within `--expiring` days."""
    store = chosen_store(args)
    names = sorted(asyncio.run(store.names() if args.expiring is None else _expiring(store, args.expiring)))
    if args.json:
        print_json(True, {"names": names})
    elif names:
        print_result("\n".join(printable(name, 200) for name in names))
    else:
        console.say(f"{store!r} has no {'' if args.expiring is None else 'such '}user.")
    return 0


async def _expiring(store: TokenStore, days: float) -> list[str]:
    return [entry.name async for entry, _ in expiring(store, days)]


def _when(at: datetime | None) -> str:
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


def _signer(args: Any, console: Console) -> tuple[OAuth2, ChosenUser, OAuth2User]:
    """What signs as the chosen user, and the tokens there are before anything is done."""
    chosen = chosen_user(args)
    app = client_in(args.app)
    user = chosen.load()
    console.so_far = chosen.so_far
    return chosen.signer(app), chosen, user


def signing(auth: OAuth2) -> Callable[[], Coroutine[Any, Any, object]]:
    """What refreshes a user's tokens if they are due."""
    return lambda: auth.sign(None, Request(Method.GET, auth.app.token_uri))


def run_with_tokens(
    auth: OAuth2,
    work: Callable[[], Coroutine[Any, Any, object]],
    console: Console,
    chosen: ChosenUser,
    before: OAuth2User,
) -> None:
    """Runs what may refresh the user's tokens, which were `before`.

    Ctrl-C waits for a refresh under way, lest its tokens be lost. Raises `SaveError` should they not be saved.
    """

    async def patient() -> None:
        try:
            await work()
        except asyncio.CancelledError:
            with second_ctrl_c_exits(console, "The refresh under way is waited for; Ctrl-C again stops at once."):
                await auth.settle()
            raise
        finally:
            if auth.user.token not in ("", before.token) and auth.not_saved is None:
                console.so_far = f"{chosen.label} was written."

    asyncio.run(patient())
    if auth.not_saved is not None:
        raise auth.not_saved


def token(args: Any, console: Console) -> int:
    """A valid access token on stdout, refreshed first if it is due."""
    auth, chosen, user = _signer(args, console)
    if auth.due:
        chosen.check_writable()
    run_with_tokens(auth, signing(auth), console, chosen, user)
    if args.json:
        print_json(True, {"token": auth.user.token, **described(auth.user)})
    else:
        print_result(auth.user.token)
    return 0


def refresh(args: Any, console: Console) -> int:
    """New tokens for a user, due or not."""
    auth, chosen, user = _signer(args, console)
    if not user.refresh_token:
        raise CredentialsError(f"{chosen.label} holds no refresh token.", next_step=GRANT_AGAIN)
    chosen.check_writable()
    run_with_tokens(auth, auth.refresh_now, console, chosen, user)
    console.say(f"{chosen.label} has new tokens; they expire: {_when(auth.user.expires_at)}.")
    print_json(args.json, {**chosen.told, **described(auth.user)})
    return 0


def revoke(args: Any, console: Console) -> int:
    """Ends the grant at the provider, then forgets the tokens, which are good for nothing any more."""
    auth, chosen, _ = _signer(args, console)
    problem = ""
    try:
        asyncio.run(auth.revoke())
    except SaveError as error:
        problem = str(error.args[0])
    if problem:
        what = "file" if chosen.path else "entry"
        raise SaveError(f"The grant has ended, but {problem}", next_step=f"Delete the {what} yourself.")
    console.say(f"The grant has ended, and {chosen.label} was deleted.")
    print_json(args.json, {**chosen.told, "revoked": True})
    return 0
