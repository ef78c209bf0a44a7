"""The command that writes a client file: scaffold."""

import os
from typing import Any

from ..errors import ConfigError, CredentialsError, WouldOverwriteError
from ..flow.console import Console, unchanged
from ..flow.git_guard import guard
from ..flow.scaffold import TEMPLATES, ScaffoldOptions, client_json, is_client, is_filled_in, read_secret, write_client
from ..flow.wizard import ask_client, say_written, scaffold_by_asking, to_fill_in
from ..json_file import display_path, read_json_file
from .results import print_json


def scaffold(args: Any, console: Console) -> int:
    """Writes a client file: by a wizard (also for a name alone, on a terminal), from flags, or an empty template."""
    if args.bare and args.kind == "oauth2":
        scaffold_by_asking(console)
        return 0
    path = args.app or "app.json"
    asked = args.only_words and args.kind == "oauth2" and console.interactive
    if os.path.isdir(path):
        raise CredentialsError(f"{display_path(path)} is a folder, not a file.")
    console.status = unchanged(path)
    merges = not (asked or args.blank or args.register or args.kind == "oauth1") and is_client(path)
    may_replace = args.force or merges or not is_filled_in(path)
    if not may_replace and console.interactive:
        may_replace = console.confirm(f"{display_path(path)} already contains a client. Overwrite it?")
    if not may_replace:
        message = f"{display_path(path)} already contains a client."
        raise WouldOverwriteError(message, next_step="Choose another name, or --force.")
    client = ask_client(console) if asked else _client(args, console)
    if merges:
        client = _merged(path, client, args, console)
    write_client(path, client, force=True)
    say_written(path, console)
    guard(path, console)
    print_json(args.json, {"app": path, "missing": to_fill_in(client)})
    return 0


def _merged(path: str, client: dict[str, Any], args: Any, console: Console) -> dict[str, Any]:
    """The file's client with new values, a secret with its id. Raises `WouldOverwriteError` without a yes."""
    before = read_json_file(path)
    known = {key: value for key, value in before.items() if key not in to_fill_in(before)}
    new = {key: value for key, value in client.items() if value not in ("", None)}
    replaced = [key for key, value in new.items() if key in known and known[key] != value]
    if replaced and not args.force and is_filled_in(path):
        message = f"{display_path(path)} already contains a client with another {', '.join(replaced)}."
        if not (console.interactive and console.confirm(f"{message} Replace it?")):
            raise WouldOverwriteError(message, next_step="Choose another name, or --force.")
    if "token_uri" in replaced:
        return client
    if args.client_auth == "auto":
        before.pop("client_auth", None)
    if "id" in replaced and "secret" not in new:
        before["secret"] = ""
    return {**client, **before, **new}


def _client(args: Any, console: Console) -> dict[str, Any]:
    """The content of the client file, from the flags. Raises `ConfigError` if two of them exclude each other."""
    given = {"id": args.id, "secret": None, "auth_uri": args.auth_uri, "token_uri": args.token_uri}
    given |= {"redirect_uri": args.redirect_uri}
    given["client_auth"] = None if args.client_auth == "auto" else args.client_auth
    template = "OAuth1" if args.kind == "oauth1" else "OAuth2" if args.blank else ""
    if template:
        sources = {"--provider": args.provider, "--issuer": args.issuer, "--from": args.source}
        sources |= {"--register": args.register, "--client-name": args.client_name}
        sources |= {"--initial-token-file": args.initial_token_file}
        sources |= {"--secret-file": args.secret_file} | {f"--{k.replace('_', '-')}": v for k, v in given.items()}
        clash = next((flag for flag, value in sources.items() if value), None)
        if clash:
            what = "an empty OAuth 1 template" if args.kind == "oauth1" else "--blank"
            raise ConfigError(f"{clash} does not apply to {what}.", next_step=f"Leave {clash} out.")
        return dict(TEMPLATES[template])
    if args.machine and (args.auth_uri or args.redirect_uri):
        raise ConfigError("--machine is a client without a consent page.", next_step="Leave --auth-uri out.")
    given["secret"] = given_secret(args, console)
    for flag in ("client_name", "initial_token_file"):
        if getattr(args, flag) and not args.register:
            raise ConfigError(f"--{flag.replace('_', '-')} is for --register.", next_step="Give --register too.")
    name = (args.client_name or "SlyAPI") if args.register else None
    token = read_secret(args.initial_token_file) if args.initial_token_file else None
    client = client_json(ScaffoldOptions(args.provider, args.issuer, args.source, name, token, given), console)
    if args.machine:
        client.pop("auth_uri", None)
        client.pop("redirect_uri", None)
    return client


def given_secret(args: Any, console: Console) -> str | None:
    """The client secret of `--secret-file`; on a terminal `-` asks for it."""
    if args.secret_file == "-" and console.interactive:
        return console.ask("Client secret (not shown)", "--secret-file", hidden=True)
    return read_secret(args.secret_file) if args.secret_file else None
