"""A grant whose tokens go into a store instead of a user file: `grant --store URL --name NAME`.

The rule: a name that is taken is replaced only after a yes or with `--force`.
"""

import os
from typing import Any

from ..errors import (
    ConfigError,
    CredentialsError,
    CredentialsNotFoundError,
    SupersededError,
    UnavailableError,
    WouldOverwriteError,
)
from ..flow.console import Console
from ..flow.git_guard import guard
from ..flow.grant import GrantOptions
from ..flow.signals import run
from ..flow.ways import grant_by_chosen_way
from ..flow.wizard import ask_scopes, needs_scopes, say_limits
from ..json_file import display_path
from ..oauth2 import OAuth2App, OAuth2User
from ..stores.at import command_words
from .chosen_user import ChosenUser, entry_to_make
from .refreshing import still_valid, with_scopes_of
from .results import print_json
from .user_summary import summary


def grant_to_store(args: Any, app: OAuth2App, words: list[str], options: GrantOptions, console: Console) -> int:
    """Has one user consent, and saves the tokens in the store, which it makes if there is none."""
    if args.user:
        step = "Give --user, or --store and --name."
        raise ConfigError("A user file and a store exclude each other.", next_step=step)
    if not args.name:
        raise ConfigError("Which user of the store?", next_step="Give --name NAME.")
    chosen = entry_to_make(args)
    console.status = chosen.status
    scopes = [scope for text in (*words, *args.scope) for scope in text.split()]
    taken, before = _stored(chosen, args)
    if before is not None and args.if_needed:
        if user := still_valid(app, console, chosen, before, scopes):
            print_json(args.json, {**chosen.result, **summary(user)})
            return 0
        args.force = True
        scopes = with_scopes_of(before, scopes)
    if taken and not args.force and not _may_replace(chosen, console):
        step = "Give another --name, --force or --if-needed."
        raise WouldOverwriteError(f"{chosen.label} exists.", next_step=step)
    chosen.check_writable()
    if not scopes and needs_scopes(app, options) and console.interactive:
        scopes = ask_scopes(console, before)
    user = run(_granted(app, chosen, scopes, options, console, replace=taken))
    if chosen.store_path:
        guard(chosen.store_path, console)
    print_json(args.json, {**chosen.result, **summary(user)})
    return 0


def _stored(chosen: ChosenUser, args: Any) -> tuple[bool, OAuth2User | None]:
    """Whether the name is taken, and the user if it can be read; `--force` replaces one that cannot."""
    if chosen.store_path and not os.path.lexists(chosen.store_path):  # loading would make some stores
        return False, None
    try:
        return True, chosen.load()
    except CredentialsNotFoundError:
        return False, None
    except (CredentialsError, UnavailableError):
        if not args.force:
            raise
        return True, None


def _may_replace(chosen: ChosenUser, console: Console) -> bool:
    return console.interactive and console.confirm(f"{chosen.label} exists. Replace it?")


async def _granted(
    app: OAuth2App, chosen: ChosenUser, scopes: list[str], options: GrantOptions, console: Console, *, replace: bool
) -> OAuth2User:
    async def save(user: OAuth2User) -> None:
        if replace:
            await chosen.entry.save(user)
        else:
            await chosen.entry.replace(None, user)
        console.status = f"{chosen.label} was saved."

    try:
        user = await grant_by_chosen_way(app, scopes, options, console, save)
    except SupersededError:
        step = "Run it again with --force to replace it."
        raise WouldOverwriteError(f"Another program saved {chosen.label} meanwhile.", next_step=step) from None
    finally:
        await chosen.entry.store.close()
    console.say(f"Granted. {chosen.label} was saved.")
    app_path = "APP.json" if app._path is None else display_path(app._path)
    say_limits(user, console, [app_path, *command_words(chosen.entry)])
    return user
