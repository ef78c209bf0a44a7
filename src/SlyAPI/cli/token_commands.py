"""The commands for an existing user: token, refresh, revoke."""

import os
import sys
from typing import Any

from ..errors import ConfigError, CredentialsError, SaveError
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
from .token_forms import check_bearer, exec_credential, git_lines, header_line, is_for, read_git_request, xoauth2_text
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
    """Prints a valid access token, refreshed first if it is due, in the form that another program reads."""
    if args.json and args.form not in ("text", "json"):
        raise ConfigError(f"--json and --as {args.form} exclude each other.")
    form, asked = "json" if args.json else args.form, {}
    if form == "git":
        if _take_operation(args) != "get":
            return 0  # the grant is kept where it is
        asked = read_git_request(sys.stdin or ())
    elif args.operation:
        raise ConfigError("There are more words than this command takes.", next_step="See: token --help")
    auth, chosen, user = _signer(args, console)
    ours = [auth.app.auth_uri, auth.app.token_uri, *(chosen.account.origins if chosen.account else ())]
    if form == "git" and not is_for(asked, ours):
        console.say("No token for git: this client's addresses are elsewhere. An account takes more: login --api URL.")
        return 0
    if form not in ("text", "json"):
        check_bearer(user)
    refresh_if_due(auth, console, chosen, user)
    user = auth.user
    match form:
        case "json":
            print_json(True, {"token": user.token, **summary(user)})
        case "header":
            print_result(header_line(user))
        case "git":
            print_result(*git_lines(user, asked))
        case "xoauth2":
            print_result(xoauth2_text(user, args.address))
        case "exec-credential":
            print_result(exec_credential(user, os.environ.get("KUBERNETES_EXEC_INFO", "")))
        case _:
            print_result(user.token)
    return 0


def _take_operation(args: Any) -> str:
    """git's own last word, which is taken out of the arguments."""
    words = [word for word in (args.app, args.user, args.operation) if word]
    operation = str(words.pop())
    if not words or not operation.isalpha() or (len(words) == 1 and operation not in ("get", "store", "erase")):
        raise ConfigError("With --as git, the last word is git's own: get, store or erase.")
    args.app, args.user = words[0], words[1] if len(words) > 1 else None
    return operation


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
