"""The commands for an existing user: token, refresh, revoke."""

from typing import Any

from ..errors import CredentialsError, SaveError
from ..flow.client_check import client_in
from ..flow.console import Console
from ..flow.progress import waiting
from ..flow.signals import run
from ..oauth2 import OAuth2User
from ..oauth2.renewal.grant_again import grant_again
from ..oauth2.signers.signer import Signer
from .chosen_user import ChosenUser, chosen_user, take_account
from .refreshing import refresh_if_due, refresh_saving
from .results import print_json, print_result
from .user_summary import summary, when


def _signer(args: Any, console: Console) -> tuple[Signer, ChosenUser, OAuth2User]:
    """The signer of the chosen user, and the user's current tokens."""
    take_account(args, None if args.user else args.app)
    chosen = chosen_user(args)
    app = client_in(args.app, console)
    user = chosen.load()
    console.status = chosen.status
    return chosen.signer(app, user), chosen, user


def token(args: Any, console: Console) -> int:
    """Prints a valid access token, refreshed first if it is due."""
    auth, chosen, user = _signer(args, console)
    refresh_if_due(auth, console, chosen, user)
    if args.json:
        print_json(True, {"token": auth.user.token, **summary(auth.user)})
    else:
        print_result(auth.user.token)
    return 0


def refresh(args: Any, console: Console) -> int:
    """Refreshes a user's tokens now."""
    auth, chosen, user = _signer(args, console)
    if not auth._holder.source.can_renew(user):
        step = grant_again(args.app, chosen.entry)
        raise CredentialsError(f"{chosen.label} contains no refresh token.", next_step=step)
    chosen.check_writable()
    refresh_saving(auth.refresh_now, auth, console, chosen, user)
    console.say(f"{chosen.label} has new tokens. They expire: {when(auth.user.expires_at)}.")
    print_json(args.json, {**chosen.result, **summary(auth.user)})
    return 0


async def revoked(auth: Signer, console: Console) -> None:
    """Ends the grant, and shows that the provider is waited for."""
    async with waiting(console, "Ending the grant"):
        await auth.revoke()


def revoke(args: Any, console: Console) -> int:
    """Ends the grant at the provider, then deletes the tokens, which are no longer valid."""
    auth, chosen, _ = _signer(args, console)
    try:
        run(revoked(auth, console))
    except SaveError as error:
        what = "file" if chosen.path else "entry"
        raise SaveError(f"The grant has ended, but {error.args[0]}", next_step=f"Delete the {what} yourself.") from None
    console.say(f"The grant has ended, and {chosen.label} was deleted.")
    print_json(args.json, {**chosen.result, "revoked": True})
    return 0
