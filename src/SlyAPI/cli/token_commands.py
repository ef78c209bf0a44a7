"""The commands on a user that is there and may change: token, refresh, revoke."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ..errors import CredentialsError, SaveError
from ..flow.console import Console
from ..flow.ctrl_c import second_ctrl_c_exits
from ..flow.wizard import client_in
from ..oauth2 import OAuth2, OAuth2User
from ..oauth2.token_endpoint import GRANT_AGAIN
from ..web.messages import Method, Request
from .chosen_user import ChosenUser, chosen_user
from .results import print_json, print_result
from .show_command import described, when


def _signer(args: Any, console: Console) -> tuple[OAuth2, ChosenUser, OAuth2User]:
    """What signs as the chosen user, and the tokens there are before anything is done."""
    chosen = chosen_user(args)
    app = client_in(args.app, console)
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
                await auth.wait_for_refresh()
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
    console.say(f"{chosen.label} has new tokens; they expire: {when(auth.user.expires_at)}.")
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
