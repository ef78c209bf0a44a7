"""Writes client files: a template, filled in from a provider's name, an issuer or a download.

The rule: exactly `{id, secret, auth_uri, token_uri}` unless more is given, and a filled-in file is overwritten only
after a yes.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import ConfigError, CredentialsError, TokenError, UnavailableError, WouldOverwriteError, printable
from ..json_file import StrPath, display_path, read_json_file, write_json_file
from ..oauth2 import OAuth2App
from ..oauth2.client.client_file import read_members
from ..oauth2.client.discovery import client_settings
from ..oauth2.client.metadata_calls import issuer_metadata
from ..oauth2.client.providers import PROVIDERS, Provider
from ..oauth2.messages.registration import offers_device
from ..tokens.client_auth import registered_name
from ..web.secret_values import SecretJson
from ..web.urls import check_endpoint
from .client_check import check_usable
from .console import Console
from .progress import waiting
from .signals import run

TEMPLATES: Mapping[str, Mapping[str, str]] = {
    "OAuth2": {"id": "", "secret": "", "auth_uri": "", "token_uri": ""},
    "OAuth1": {"key": "", "secret": "", "request_uri": "", "authorize_uri": "", "access_uri": ""},
}


@dataclass
class ScaffoldOptions:
    """What is known of the client. The values of `given` override those of the other sources."""

    provider: str | None = None
    issuer: str | None = None
    source: StrPath | None = None
    register_as: str | None = None
    """The name under which the client is registered with the issuer (RFC 7591); None to register nothing."""
    initial_access_token: str | None = field(repr=False, default=None)
    given: dict[str, Any] = field(repr=False, default_factory=dict)


def client_json(options: ScaffoldOptions, console: Console | None = None) -> dict[str, Any]:
    """The content of the client file. Raises `ConfigError` for an unknown provider or a bad URI."""
    sources = {"--provider": options.provider, "--issuer": options.issuer, "--from": options.source}
    flags = [flag for flag, value in sources.items() if value]
    if flags[1:]:
        raise ConfigError(f"{' and '.join(flags)} exclude each other.", next_step="Give one of them.")
    client: dict[str, Any] = SecretJson(TEMPLATES["OAuth2"])
    if options.provider:
        provider = find_provider(options.provider)
        # only these: everything else is looked up in the table at run time, so that the file cannot become outdated
        client |= {"auth_uri": provider.auth_uri, "token_uri": provider.token_uri}
    if options.issuer:
        client |= run(_of_issuer(options.issuer, options, console or Console()))
    elif options.register_as is not None:
        raise ConfigError("--register needs an issuer.", next_step="Give --issuer URL.")
    if options.source is not None:
        client |= _of_file(options.source)
    client |= {key: value for key, value in options.given.items() if value is not None}
    check_values(client)
    return client


def check_values(client: Mapping[str, Any]) -> None:
    """Raises `ConfigError` for a value that no command could use; empty ones are still to be filled in."""
    fillers = {"id": "id", "auth_uri": "https://a.example", "token_uri": "https://a.example"}
    check_usable(OAuth2App(**read_members({**client, **{key: client[key] or value for key, value in fillers.items()}})))


def find_provider(name: str) -> Provider:
    """A row of the table of providers. Raises `ConfigError`, which lists the known names."""
    found = PROVIDERS.get(name.strip().casefold())
    if found is None:
        near = get_close_matches(name.casefold(), PROVIDERS, 1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise ConfigError(
            f"The provider {printable(name, 40)!r} is unknown.",
            next_step=f"{hint}Known: {', '.join(PROVIDERS)}. For others give --issuer, or --auth-uri and --token-uri.",
        )
    return found


def _of_file(source: StrPath) -> dict[str, Any]:
    app = OAuth2App.from_json_file(source)
    return {key: value for key, value in app.to_dict().items() if key not in app.extra}


async def _of_issuer(issuer: str, options: ScaffoldOptions, console: Console) -> dict[str, Any]:
    async with waiting(console, "Asking the issuer"):
        if options.register_as is not None:
            return await _registered(issuer, options)
        return client_settings(await discover(issuer))


def no_scheme(issuer: str) -> ConfigError:
    """The error for an issuer whose URL has no beginning."""
    return ConfigError(f"The URL of an issuer begins with https://, such as https://{printable(issuer, 80)}")


async def discover(issuer: str) -> dict[str, Any]:
    """The issuer's metadata (RFC 8414, OpenID Connect Discovery)."""
    if "://" not in issuer and "." in issuer:
        raise no_scheme(issuer)
    check_endpoint(issuer, "--issuer")
    try:
        return await issuer_metadata(issuer)
    except ConfigError as error:
        if "auth_uri and token_uri" in error.next_step:
            error.next_step = "Give --auth-uri and --token-uri."
        raise


async def _registered(issuer: str, options: ScaffoldOptions) -> dict[str, Any]:
    """The members of a client that is now registered with the issuer (RFC 7591)."""
    check_endpoint(issuer, "--issuer")
    for key in ("id", "secret"):
        if options.given.get(key):
            raise ConfigError(
                "--register brings a new id and secret from the issuer.", next_step=f"Leave --{key} out."
            )
    redirect_uri = options.given.get("redirect_uri") or _REDIRECT_URI
    method = options.given.get("client_auth")
    metadata: dict[str, Any] = {"token_endpoint_auth_method": registered_name(method)} if method else {}
    server = await discover(issuer)

    async def register(*, device: bool) -> OAuth2App:
        return await OAuth2App._register_at(
            server,
            client_name=options.register_as or "SlyAPI",
            redirect_uris=[redirect_uri],
            initial_access_token=options.initial_access_token,
            device=device,
            **metadata,
        )

    if not offers_device(server):
        return (await register(device=False)).to_dict()
    try:
        return (await register(device=True)).to_dict()
    except TokenError as error:
        if error.error != "invalid_client_metadata":
            raise
    # some servers offer it, but not to clients that register themselves
    return replace(await register(device=False), device_uri=None).to_dict()


_REDIRECT_URI = "http://127.0.0.1:8080"


def read_secret(source: str) -> str:
    """The client secret: the first line of a file, or of stdin for `-`."""
    text, problem = "", "contains no secret"
    try:
        text = sys.stdin.readline() if source == "-" else Path(source).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        problem = "does not exist"
    except UnicodeDecodeError:
        problem = "is not UTF-8 text"
    except OSError as error:
        problem = f"cannot be read ({error.strerror or type(error).__name__})"
    except (ValueError, AttributeError):
        pass  # stdin is closed or missing
    secret = text.strip().partition("\n")[0].strip()
    if not secret:
        where = "stdin" if source == "-" else display_path(source)
        raise ConfigError(f"{where} {problem}.", next_step="Give --secret-file PATH, or - for stdin.")
    return secret


def is_filled_in(path: StrPath) -> bool:
    """Whether a template must not replace the file: it exists, and is neither empty nor a blank template."""
    if not os.path.lexists(path):
        return False
    try:
        client = read_json_file(path)
    except (CredentialsError, UnavailableError):
        return not (os.path.isfile(path) and os.path.getsize(path) == 0)
    if not isinstance(client, dict):
        return True
    return any(client.get(key) for key in ("id", "secret", "key")) or not {"id", "key"} & client.keys()


def is_client(path: StrPath) -> bool:
    """Whether the file contains a client in our own form, to which values can be added."""
    try:
        client = read_json_file(path)
    except (CredentialsError, UnavailableError):
        return False
    return isinstance(client, dict) and "id" in client and "token_uri" in client


def write_client(path: StrPath, client: Mapping[str, Any], *, force: bool) -> None:
    """Writes the client file, 0600. Raises `WouldOverwriteError`, `SaveError`."""
    if not force and is_filled_in(path):
        raise WouldOverwriteError(
            f"{display_path(path)} already contains a client and was not changed.",
            next_step="Choose another name, or --force.",
        )
    write_json_file(path, client)
