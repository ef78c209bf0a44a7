"""The commands on a user file: show, token, refresh, revoke."""

import asyncio
import os
import stat
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from .errors import CredentialsError, CredentialsNotFoundError, SaveError
from .flow.console import Console, second_ctrl_c_exits
from .flow.wizard import client_in, unchanged
from .json_file import check_writable, shown
from .oauth2 import OAuth2, OAuth2User
from .oauth2.token_endpoint import GRANT_AGAIN
from .results import print_json, print_result
from .stores import user_file
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


@contextmanager
def _user_file_expected() -> Iterator[None]:
    try:
        yield
    except CredentialsNotFoundError as error:
        error.next_step = error.next_step or "Make one with: python -m SlyAPI grant"
        raise


def show(args: Any, console: Console) -> int:
    """Scopes, expiry and mode of a user file, without network or secret."""
    with _user_file_expected():
        user = OAuth2User.from_json_file(args.user)
    mode = stat.S_IMODE(os.stat(args.user).st_mode)
    if args.json:
        print_json(True, {"user": args.user, **described(user), "mode": f"{mode:04o}"})
        return 0
    lines = [f"user file:   {shown(args.user)} (mode {mode:04o})"]
    lines.append(f"scopes:      {' '.join(user.scopes) or 'none named'}")
    if user.missing_scopes:
        lines.append(f"not granted: {' '.join(user.missing_scopes)}")
    lines.append(f"expires:     {_when(user.expires_at)}")
    ends = f", until {_when(user.refresh_expires_at)}" if user.refresh_expires_at else ""
    lines.append(f"refreshable: {f'yes{ends}' if user.refresh_token else 'no'}")
    print_result("\n".join(lines))
    if mode & 0o077 and os.name == "posix":
        console.say("Careful: others on this machine may read it. Mend that with:", f"    chmod 600 {shown(args.user)}")
    return 0


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


def _signer(args: Any, console: Console) -> OAuth2:
    app = client_in(args.app)
    with _user_file_expected():
        auth = OAuth2(app, args.user)
    console.so_far = unchanged(args.user)
    return auth


def signing(auth: OAuth2) -> Callable[[], Coroutine[Any, Any, object]]:
    """What refreshes a user's tokens if they are due."""
    return lambda: auth.sign(None, Request(Method.GET, auth.app.token_uri))


def run_with_tokens(
    auth: OAuth2, work: Callable[[], Coroutine[Any, Any, object]], console: Console, user_path: str, *, due: bool
) -> None:
    """Runs what may refresh the user's tokens. Ctrl-C waits for a refresh under way, lest its tokens be lost.

    Raises `SaveError` before anything is asked where the new tokens could not be saved, and should they
    not be all the same.
    """
    if due:
        check_writable(user_path)
    before = auth.user.token

    async def patient() -> None:
        try:
            await work()
        except asyncio.CancelledError:
            with second_ctrl_c_exits(console, "The refresh under way is waited for; Ctrl-C again stops at once."):
                await auth.settle()
            raise
        finally:
            if auth.user.token != before and auth.not_saved is None:
                console.so_far = f"{shown(user_path)} was written."

    asyncio.run(patient())
    if auth.not_saved is not None:
        raise auth.not_saved


def token(args: Any, console: Console) -> int:
    """A valid access token on stdout, refreshed first if it is due."""
    auth = _signer(args, console)
    run_with_tokens(auth, signing(auth), console, args.user, due=auth.due)
    if args.json:
        print_json(True, {"token": auth.user.token, **described(auth.user)})
    else:
        print_result(auth.user.token)
    return 0


def refresh(args: Any, console: Console) -> int:
    """New tokens in a user file, due or not."""
    auth = _signer(args, console)
    if not auth.user.refresh_token:
        raise CredentialsError(f"{shown(args.user)} holds no refresh token.", next_step=GRANT_AGAIN)
    run_with_tokens(auth, auth.refresh_now, console, args.user, due=True)
    console.say(f"{shown(args.user)} has new tokens; they expire: {_when(auth.user.expires_at)}.")
    print_json(args.json, {"user": args.user, **described(auth.user)})
    return 0


def revoke(args: Any, console: Console) -> int:
    """Ends the grant at the provider, then takes the user file away, which is good for nothing any more."""
    auth = _signer(args, console)
    asyncio.run(auth.app.revoke(auth.user))
    console.so_far = "The grant has ended."
    problem = ""
    try:
        asyncio.run(user_file(args.user).delete())
    except SaveError as error:
        problem = str(error.args[0])
    if problem:
        raise SaveError(f"The grant has ended, but {problem}", next_step="Delete the file yourself.")
    console.say(f"The grant has ended, and {shown(args.user)} was deleted.")
    print_json(args.json, {"user": args.user, "revoked": True})
    return 0
