"""The two wizards, and what the commands share with them. Also for libraries' own `__main__`."""

import inspect
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from enum import Enum
from typing import Any, TypeVar

from ..errors import (
    ConfigError,
    CredentialsError,
    CredentialsNotFoundError,
    SlyError,
    UnavailableError,
    WouldOverwriteError,
    clean_traceback,
)
from ..json_file import StrPath, check_writable, display_path, read_json_file, write_json_file
from ..json_file.windows import WINDOWS
from ..oauth1 import OAuth1App, OAuth1User
from ..oauth2 import OAuth2App, OAuth2User
from ..oauth2.client.providers import PROVIDERS, Provider
from ..stores import user_file
from ..tokens.recognise import recognise
from ..tokens.scopes import ASK_FOR_CONSENT, OFFLINE
from ..web.next_steps import PROGRAM, command, quoted
from .client_check import client_in, oauth1_client_in, placeholders
from .console import Console, Interrupted, NoAnswerError, report, unchanged
from .git_guard import guard
from .grant import GrantOptions, Save
from .scaffold import TEMPLATES, ScaffoldOptions, check_values, client_json, find_provider, no_scheme
from .signals import ctrl_c_as_interrupted
from .ways import grant_by_chosen_way, grant_oauth1

_WRITTEN = "was written." if WINDOWS else "was written (mode 0600)."  # Windows has no modes
_KINDS = {"oauth1": "OAuth1", "oauth2": "OAuth2"}


@contextmanager
def _failure_exits(console: Console) -> Iterator[None]:
    """Reports a failure in a line, and raises `SystemExit` with its exit code."""
    try:
        with ctrl_c_as_interrupted():
            yield
    except (SlyError, Interrupted) as error:
        sys.exit(report(console, error))


@clean_traceback
async def grant_wizard(
    scopesType: type | None, dry_run: bool = False, kind: str | None = None, *, program: str = PROGRAM
) -> None:
    """Asks for the client file, the user file and the scopes, then grants.

    The menu of scopes lists the public attributes of `scopesType` (a class with text attributes, or an enum). `kind`
    is `OAuth2` (the default) or `OAuth1`, which has no scopes. With `dry_run` it only asks; it opens and writes
    nothing. A failure is reported in a line, and raises `SystemExit` with the exit code. `program` is what has a
    command `scaffold`, for the next step where there is no client file.
    """
    console = Console()
    with _failure_exits(console):
        oauth1 = _read_kind(kind) == "OAuth1"
        app_path = console.ask("Client file", "--app", "app.json")
        with _made_by(program):
            app = oauth1_client_in(app_path) if oauth1 else client_in(app_path, console)
        user_path = console.ask("User file to write", "--user", "user.json")
        console.status = unchanged(user_path)
        check_user_path(user_path, app_path)
        if os.path.lexists(user_path) and not confirm_replacing(user_path, console):
            console.say(f"{display_path(user_path)} was kept.")
            return
        scopes = [] if oauth1 else _menu(scopesType, console)
        if dry_run:
            console.say(f"Would ask for {scopes or 'access'} and write {display_path(user_path)}.")
        elif isinstance(app, OAuth1App):
            await grant_oauth1_to_file(app, user_path, GrantOptions(), console)
        else:
            await grant_to_file(app, user_path, scopes, GrantOptions(), console)


@clean_traceback
def scaffold_wizard(
    kind: str | None = None, override: Mapping[str, Any] | None = None, *, program: str = PROGRAM
) -> None:
    """Asks for the path of the client file and before overwriting one; writes the template, updated with `override`.

    `kind` is `OAuth2` (the default) or `OAuth1`. A failure is reported in a line, and raises `SystemExit` with the
    exit code. `program` is what has a command `grant`, such as `python -m weather`: the next step.
    """
    console = Console()
    with _failure_exits(console):
        path = _ask_client_path(console)
        if path is not None:
            write_json_file(path, {**TEMPLATES[_read_kind(kind)], **(override or {})})
            say_written(path, console, program)
            guard(path, console)


@contextmanager
def _made_by(program: str) -> Iterator[None]:
    """Names the program's own command in the error for a client file that does not exist."""
    try:
        yield
    except CredentialsNotFoundError as error:
        if program != PROGRAM:
            error.next_step = f"Make one with: {program} scaffold"
        raise


def scaffold_by_asking(console: Console) -> None:
    """The wizard of `python -m SlyAPI scaffold`, which also asks for the provider, the id and the secret."""
    path = _ask_client_path(console, silence_fails=True)
    if path is None:
        return
    write_json_file(path, ask_client(console))
    say_written(path, console)
    guard(path, console)


def ask_client(
    console: Console, options: ScaffoldOptions | None = None, *, needs_id: bool = False
) -> dict[str, Any]:
    """The content of a client file: asks for the provider, the id and the secret, where `options` lack them."""
    options = options or ScaffoldOptions()
    if not (options.provider or options.issuer):
        console.say(f"Known providers: {', '.join(PROVIDERS)}.")
        name, found = _ask_provider(console)
        options.provider, options.issuer = (name, None) if found else (None, name or None)
    if options.provider:
        provider = find_provider(options.provider)
        console.say("Register a client at", f"    {provider.console}", f"with the redirect URI {provider.redirect_uri}")
        if provider.note:
            console.say(provider.note)
    client = client_json(options, console)  # an issuer's metadata may say that clients have no secret
    if not client["id"]:
        question = "Client id" if needs_id else "Client id; Enter to leave it blank"
        client["id"] = console.ask(question, "--id", None if needs_id else "")
    if client.get("client_auth") != "none" and not client["secret"]:
        question = f"Client secret (not shown); Enter {'if there is none' if needs_id else 'to leave it blank'}"
        client["secret"] = console.ask(question, "--secret-file", "", hidden=True)
    check_values(client)
    return client


def _ask_provider(console: Console) -> tuple[str, Provider | None]:
    """The name and the row of a known provider; or None with the URL of an issuer, or with ""."""
    while True:
        name = console.ask("Provider, or the https URL of an issuer; Enter to leave it blank", "--provider", "")
        try:
            is_address = not name or name.startswith(("https://", "http://"))
            if not is_address and "." in name:
                raise no_scheme(name)
            return name, None if is_address else find_provider(name)
        except ConfigError as error:
            if not console.interactive:
                raise
            console.say(str(error))


def say_written(path: StrPath, console: Console, program: str = PROGRAM) -> None:
    """Says what was written, and the next step: `grant` of SlyAPI for these files, or the wizard of `program`."""
    client = read_json_file(path)
    missing = to_fill_in(client)
    console.status = f"{display_path(path)} was written."
    console.say(f"{display_path(path)} {_WRITTEN}")
    if "token_uri" in client and "auth_uri" not in client:  # nobody will consent
        console.say(f"Fill in {', '.join(missing)}, then run:" if missing else "Next:")
        console.say(f"    {program} {quoted('grant', '--client-credentials', display_path(path), 'machine.json')}")
        return
    if missing == ["auth_uri"]:
        console.say("A token of the program itself, without a user:")
        console.say(f"    {program} {quoted('grant', '--client-credentials', display_path(path), 'machine.json')}")
    if missing == ["secret"]:  # some clients have none (RFC 6749 §2.1), and only the provider knows
        console.say("Fill in secret if the client has one, then run:")
    else:
        console.say(f"Fill in {', '.join(missing)}, then run:" if missing else "Next:")
    words = _grant_words(path, client) if program == PROGRAM else []
    console.say(f"    {program} {quoted('grant', *words)}")


def _grant_words(path: StrPath, client: Mapping[str, Any]) -> list[str]:
    """The words of `grant` after this client file was written. On a terminal it asks for scopes that are not named."""
    folder, name = os.path.split(display_path(path))
    stem = os.path.splitext(name)[0]
    files = [display_path(path), os.path.join(folder, "user.json" if stem == "app" else f"{stem}-user.json")]
    if "request_uri" in client:
        return ["oauth1", *files]
    return [*files, "openid"] if client.get("userinfo_uri") else files  # OpenID Connect Core §3.1.2.1 requires it


def to_fill_in(client: Mapping[str, Any]) -> list[str]:
    """The keys of a client file whose value is empty or a placeholder."""
    own = {key: value for key, value in client.items() if key in ("id", "key", "secret")}
    missing = [key for key, value in client.items() if value == "" or key in placeholders(own)]
    return [key for key in missing if key != "secret" or client.get("client_auth") != "none"]


async def grant_to_file(
    app: OAuth2App, user_path: StrPath, scopes: list[str], options: GrantOptions, console: Console
) -> OAuth2User:
    """Grants, and writes the user file before success is reported; writes no file for `-`."""
    user = await _to_file(
        lambda save: grant_by_chosen_way(app, scopes, options, console, save),
        user_file(user_path).save,  # in a turn of its own: a program that uses the file may be refreshing
        user_path,
        console,
    )
    app_path = "APP.json" if app._path is None else display_path(app._path)
    say_limits(user, console, ["grant", app_path, "USER.json" if user_path == "-" else display_path(user_path)])
    return user


async def grant_oauth1_to_file(
    app: OAuth1App, user_path: StrPath, options: GrantOptions, console: Console
) -> OAuth1User:
    """As `grant_to_file`, for OAuth 1."""

    async def write(user: OAuth1User) -> None:
        write_json_file(user_path, asdict(user))

    return await _to_file(lambda save: grant_oauth1(app, options, console, save), write, user_path, console)


U = TypeVar("U")


async def _to_file(
    granting: Callable[[Save[U]], Awaitable[U]], write: Save[U], user_path: StrPath, console: Console
) -> U:
    async def save(user: U) -> None:
        if user_path != "-":
            await write(user)
            console.status = f"{display_path(user_path)} was written."

    if user_path != "-":
        check_writable(user_path)
    user = await granting(save)
    if user_path != "-":
        console.say(f"Granted. {display_path(user_path)} {_WRITTEN}")
        guard(user_path, console)
    return user


def say_limits(user: OAuth2User, console: Console, words: Sequence[str]) -> None:
    """Says which scopes are missing, and that a grant cannot be refreshed; `words`: the command that grants again."""
    say_missing(user, console)
    machine = (user.extra or {}).get("grant_type") == "client_credentials"
    if user.refresh_token is None and user.expires_at is not None and not machine:
        console.say("The provider issued no refresh token: the grant ends when the access token expires.")
        if OFFLINE in (user.requested_scopes or ()):
            console.say(ASK_FOR_CONSENT, f"    {consent_command(words, user)}")


def consent_command(words: Sequence[str], user: OAuth2User) -> str:
    """The command that grants again for the same scopes, with the consent page."""
    scopes = user.requested_scopes or user.scopes
    return command(*words, *scopes, "--force", "--param", "prompt=consent")


def say_missing(user: OAuth2User, console: Console) -> None:
    """Says which requested scopes were not granted."""
    if user.missing_scopes:
        console.say(f"Requested but not granted: {', '.join(user.missing_scopes)}")


def check_user_path(user_path: StrPath, app_path: StrPath) -> None:
    """Raises `ConfigError` or `WouldOverwriteError` where a grant must not replace what is at the user file's path."""
    if os.path.exists(user_path) and os.path.exists(app_path) and os.path.samefile(user_path, app_path):
        raise ConfigError("The user file and the client file are the same file.", next_step="Give another --user.")
    if os.path.isdir(user_path):
        raise CredentialsError(f"{display_path(user_path)} is a folder, not a file.")
    with suppress(CredentialsError):
        found = read_json_file(user_path)
        what = recognise(found) if isinstance(found, dict) else ""
        if what in _NEVER_REPLACED:
            raise WouldOverwriteError(f"{display_path(user_path)} is {what}.", next_step="Give another --user.")


_NEVER_REPLACED = ("a client file", "Google's client file", "a Google service-account key", "an OAuth 1 client file")


def confirm_replacing(user_path: StrPath, console: Console) -> bool:
    """Whether the user wants an existing file replaced; the question names what it is."""
    try:
        found = read_json_file(user_path)
        what = recognise(found) if isinstance(found, dict) else "not a JSON object"
    except (CredentialsError, UnavailableError) as error:
        what = str(error)
    return console.confirm(f"{display_path(user_path)} exists ({what}). Replace it?")


def _ask_client_path(console: Console, *, silence_fails: bool = False) -> str | None:
    """The path to write, None to keep a file. With `silence_fails`, raises `NoAnswerError` or `WouldOverwriteError`."""
    path = console.ask("Client file to write", "the file's name", "app.json")
    if silence_fails and console.unanswered and not os.path.lexists(path):
        console.status = unchanged(path)
        step = "Give flags, such as --provider or --issuer; --blank writes an empty template."
        raise NoAnswerError("Nobody can be asked: standard input is empty.", next_step=step)
    if os.path.isdir(path):
        raise CredentialsError(f"{display_path(path)} is a folder, not a file.")
    console.status = unchanged(path)
    if os.path.lexists(path) and not console.confirm(f"{display_path(path)} exists. Overwrite it?"):
        if silence_fails and console.unanswered:
            raise WouldOverwriteError(
                f"{display_path(path)} exists, and nobody can be asked.",
                next_step="Give another name, or --force.",
            )
        console.say(f"{display_path(path)} was kept.")
        return None
    return path


def _read_kind(kind: str | None) -> str:
    found = _KINDS.get((kind or "OAuth2").casefold())
    if found is None:
        raise ConfigError(f"kind is {kind!r}, which is neither OAuth2 nor OAuth1.")
    return found


def needs_scopes(app: OAuth2App, options: GrantOptions) -> bool:
    """Whether a grant without scopes asks for some: neither the client file nor the resource names them."""
    return not app.scopes and options.resource is None and options.way != "machine"


def ask_scopes(console: Console, before: OAuth2User | None = None) -> list[str]:
    """The scopes that the user types. On a terminal Enter repeats those of `before`, the user that is replaced."""
    known = (before.requested_scopes or before.scopes) if before is not None and console.interactive else []
    if console.interactive and not known:
        console.say("Scopes are what the program may do; the provider's documentation lists them.")
    question = f"Scopes, separated by spaces; Enter for {'these' if known else 'none'}"
    return console.ask(question, "--scope", " ".join(known)).split()


def _menu(scopes_type: type | None, console: Console) -> list[str]:
    """The scopes chosen from the public attributes of a class, or typed if there is no class."""
    if scopes_type is None:
        return ask_scopes(console)
    if issubclass(scopes_type, Enum):
        found = [(name, member.value) for name, member in scopes_type.__members__.items()]
    else:
        found = inspect.getmembers(scopes_type, lambda value: isinstance(value, str | Enum))
        order = list(vars(scopes_type))
        found.sort(key=lambda pair: order.index(pair[0]) if pair[0] in order else -1)
    choices = [
        (name, str(value.value if isinstance(value, Enum) else value))
        for name, value in found
        if not name.startswith("_")
    ]
    if not choices:
        return []
    return console.choose_several("Which scopes?", choices, "--scope")
