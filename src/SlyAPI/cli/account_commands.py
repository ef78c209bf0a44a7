"""The commands that make, list and end accounts: login, accounts, logout.

The rule: an account's files are written before its first grant, so that the client is asked for once; later ones are
replaced with the tokens that belong to them.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from ..errors import (
    ConfigError,
    CredentialsError,
    CredentialsNotFoundError,
    GrantEndedError,
    SlyError,
    UnavailableError,
    WouldOverwriteError,
)
from ..flow.client_check import checked_client, client_in
from ..flow.console import Console
from ..flow.git_guard import guard
from ..flow.grant import GrantOptions
from ..flow.scaffold import ScaffoldOptions, client_json
from ..flow.signals import run
from ..flow.ways import grant_by_chosen_way
from ..flow.wizard import ask_client, ask_scopes, needs_scopes, say_limits
from ..json_file import write_json_file
from ..oauth2 import OAuth2, OAuth2App, OAuth2User
from ..oauth2.accounts import CLIENT, Account, account_names, check_name, folder_of, same_but_for_case
from ..oauth2.client.bound_tokens import is_bound
from ..oauth2.client.providers import PROVIDERS, host_of
from ..oauth2.from_url.resource_login import ResourceLogin
from ..oauth2.from_url.resource_plan import MADE_FOR
from ..web.next_steps import command
from .chosen_user import ChosenUser, chosen_user, entry_to_make, use_account
from .grant_command import grant_options
from .refreshing import with_scopes_of
from .results import print_json, print_result, print_table
from .scaffold_command import given_secret
from .token_commands import revoked
from .user_summary import summary, when


def login(args: Any, console: Console) -> int:
    """Makes an account, or adds scopes to one: has the person consent, and keeps client, tokens and API together."""
    name, options = check_name(args.word), grant_options(args)
    if other := same_but_for_case(name, account_names()):
        message = f"There is an account {other}, and names that differ in case alone are one on some systems."
        raise ConfigError(message, next_step=f"Use {other}, or choose another name.")
    console.status = f"The account {name} was not changed."
    path = os.path.join(folder_of(name), CLIENT)
    client, app = _client(args, name, path, console)
    app.client_auth = options.client_auth or app.client_auth
    resource = args.resource or app.extra.get(MADE_FOR)
    scopes = [scope for text in (*args.scopes, *args.scope) for scope in text.split()]
    if args.client_credentials and options.token_params:  # each later token is asked for with them too
        app.token_params = {**app.token_params, **options.token_params}
        client = app.to_dict()
    urls = _api(args, name, app, resource, console)
    account = Account.of(name, urls, scopes if args.client_credentials else None)
    is_first = not os.path.lexists(path)

    def write() -> None:
        account.save()
        if client is not None:
            write_json_file(path, client)

    if is_first:
        write()
        console.status = f"The account {name} has a client, and no tokens yet."
    if resource:
        options.resource = ResourceLogin.of(resource, path)
    use_account(args, account)
    chosen = entry_to_make(args) if args.name else chosen_user(args)
    before = _before(chosen, app)
    if before is not None:
        scopes = with_scopes_of(before, scopes)
    elif not scopes and needs_scopes(app, options) and console.interactive:
        scopes = ask_scopes(console)
    chosen.check_writable()
    user = run(_granted(app, chosen, scopes, options, console, write))
    for file in {path, chosen.path or chosen.store_path} - {""}:
        guard(file, console)
    console.say(f"Logged in. The account {name} may call {' '.join(account.origins)} and nothing else. For example:")
    console.say(f"    {command('call', name, '/')}")
    print_json(args.json, {"account": name, "api": [*account.origins], **summary(user)})
    return 0


def _client(args: Any, name: str, path: str, console: Console) -> tuple[dict[str, Any] | None, OAuth2App]:
    """The client, and what to write of it (None: nothing). Raises `WouldOverwriteError` for another one."""
    old = client_in(path, console) if os.path.lexists(path) and not (args.force and args.app) else None
    wanted = ScaffoldOptions(args.provider, args.issuer, given={"id": args.id, "secret": given_secret(args, console)})
    is_given = bool(args.app or args.provider or args.issuer or args.id or args.secret_file)
    if old is not None and not is_given:
        return None, old
    if args.resource and not is_given:
        return None, OAuth2App("", None, "", "")
    if args.app:
        client = checked_client(args.app).to_dict()
    else:
        if not args.issuer and not args.provider and name.casefold() in PROVIDERS:
            wanted.provider = name
        if old is not None and not (wanted.provider or wanted.issuer):
            client = old.to_dict() | {key: value for key, value in wanted.given.items() if value}
        else:
            client = client_json(wanted, console)
    if old is not None and _is_of(old, client):
        client = old.to_dict() | {key: client[key] for key in ("secret",) if client[key]}
    elif old is not None and not args.force:
        message = f"The account {name} has another client, of {_provider(old)}."
        if not (console.interactive and console.confirm(f"{message} Replace it?")):
            raise WouldOverwriteError(message, next_step="Choose another name, or --force.")
    if not client["id"]:
        client = ask_client(console, wanted, needs_id=True)
    if "INSTANCE" in client["token_uri"]:
        step = f"Write a client file with scaffold, fill it in, then: {command('login', name, '--app', 'FILE')}"
        raise ConfigError("This provider has an address of its own for each server.", next_step=step)
    app = OAuth2App.from_json_obj(client, name="The client")
    app._path = path
    return client, app


def _provider(app: OAuth2App) -> str:
    return app.provider.name if app.provider else host_of(app.token_uri)


def _is_of(app: OAuth2App, client: Mapping[str, Any]) -> bool:
    """Whether this client file's members are those of the client, as far as they are filled in."""
    return client["id"] in ("", app.id) and host_of(client["token_uri"]) == host_of(app.token_uri)


def _api(args: Any, name: str, app: OAuth2App, resource: str | None, console: Console) -> list[str]:
    """The addresses of the API: given, those of before for the same client, known, or asked for."""
    if args.api:
        return list(args.api)
    if name in account_names():
        before = Account.load(name)
        with suppress(CredentialsError):
            if _is_of(OAuth2App.from_json_file(before.client_path), {"id": app.id, "token_uri": app.token_uri}):
                return [before.base_url, *before.origins]
    if resource:
        return [resource]
    if app.provider and app.provider.api:
        return list(app.provider.api)
    return console.ask("The address of the API, where tokens go and nowhere else", "--api URL").split()


def _before(chosen: ChosenUser, app: OAuth2App) -> OAuth2User | None:
    """The user that is there, if the same client can add scopes to the grant."""
    place = chosen.path or chosen.store_path
    with suppress(CredentialsError, UnavailableError):
        if not place or os.path.lexists(place):  # loading would make some stores
            user = chosen.load()
            return user if is_bound(user, app) else None
    return None


async def _granted(
    app: OAuth2App,
    chosen: ChosenUser,
    scopes: list[str],
    options: GrantOptions,
    console: Console,
    write: Callable[[], None],
) -> OAuth2User:
    """Grants, and saves the account with its tokens."""
    assert chosen.account is not None
    name = chosen.account.name

    async def save(user: OAuth2User) -> None:
        write()
        user.issued_to = {**(user.issued_to or {}), "account": name}
        await chosen.entry.save(user)
        console.status = f"The account {name} was saved."

    try:
        user = await grant_by_chosen_way(app, scopes, options, console, save)
    finally:
        await chosen.entry.store.close()
    say_limits(user, console, ["login", name])
    return user


def accounts(args: Any, console: Console) -> int:
    """Lists the accounts: name, provider, who, scopes, until when."""
    names = account_names()
    if args.names:
        if names:
            print_result(*names)
        return 0
    found = [run(_described(name)) for name in names]
    if args.json:
        print_json(True, {"accounts": found})
    elif found:
        column = max(len(name) for name in names) + 2
        print_table([(each["account"], _line(each)) for each in found], column)
    else:
        console.say("There is no account. Make one with:", f"    {command('login')} NAME")
    return 0


async def _described(name: str) -> dict[str, Any]:
    """What is not secret of an account; `problem` says what cannot be read."""
    facts: dict[str, Any] = {"account": name}
    try:
        account = Account.load(name)
        app = OAuth2App.from_json_file(account.client_path)
        facts |= {"provider": _provider(app), "base_url": account.base_url, "api": [*account.origins]}
        entry = account.user
        try:
            user = await entry.load()
        except CredentialsNotFoundError:
            raise account.not_logged_in() from None
        finally:
            await entry.store.close()
    except SlyError as error:
        return facts | {"problem": str(error.args[0])}
    claims = user.identity.claims if user.identity else {}
    machine = account.machine_scopes is not None
    names = [claims.get(key) for key in ("email", "preferred_username", "name")]
    names += [user.identity.subject if user.identity else None, "the program itself" if machine else None]
    who = next((str(one) for one in names if one), None)
    return facts | {"who": who, "renewed": machine or bool(user.refresh_token), **summary(user)}


def _line(facts: dict[str, Any]) -> str:
    if "problem" in facts:
        return ", ".join([*filter(None, [facts.get("provider")]), facts["problem"]])
    ends = facts["refresh_expires_at"] if facts["renewed"] else facts["expires_at"]
    until = f"until {when(ends)}" if ends else "renewed by itself" if facts["renewed"] else "no known end"
    return ", ".join(filter(None, [facts["provider"], facts["who"], " ".join(facts["scopes"]), until]))


def logout(args: Any, console: Console) -> int:
    """Ends the grant at the provider, then forgets the tokens; with `--client` the whole account."""
    account = Account.load(args.word)
    console.status = f"The account {account.name} was not changed."
    use_account(args, account)
    chosen, ended = chosen_user(args), False
    try:
        chosen.load()
    except CredentialsNotFoundError:
        console.say(f"The account {account.name} has no tokens.")
    else:
        ended = _end(account, chosen, args, console)
    if args.client:
        account.forget()
        console.say(f"The account {account.name} was deleted.")
    print_json(args.json, {"account": account.name, "revoked": ended, "deleted": args.client})
    return 0


def _end(account: Account, chosen: ChosenUser, args: Any, console: Console) -> bool:
    """Ends the grant where the provider can, and deletes the tokens; whether it has ended."""
    try:
        auth = OAuth2.account(account.name)
        can_revoke = bool(auth.app.revoke_uri or (auth.app.provider and auth.app.provider.revoke_uri))
        if can_revoke:
            run(revoked(auth, console))
            console.say(f"The grant has ended, and the tokens of {account.name} were deleted.")
            return True
        problem = f"{_provider(auth.app)} has no address to end a grant: do it in your settings there."
    except SlyError as error:
        if not args.force:
            if not isinstance(error, GrantEndedError):
                error.next_step = f"{error.next_step} To forget the tokens nevertheless, give --force.".strip()
            raise
        problem = f"The grant could not be ended: {error.args[0]}"
    run(chosen.entry.delete())
    console.say(f"The tokens of {account.name} were deleted. {problem}")
    return False
