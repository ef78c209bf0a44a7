"""Gathers what `doctor` judges: files, their modes, git, the provider's endpoints and metadata, a refresh.

The rule: the only place of `doctor` that does IO; no credential is sent anywhere, except by `--refresh`.
"""

import asyncio
import json
import os
import stat
import time
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ...errors import ConfigError, CredentialsError, SlyError
from ...flow.client_check import checked_client, misspelt_keys
from ...flow.console import Console, unused_proxy
from ...flow.git_guard import would_commit
from ...flow.progress import waiting
from ...flow.signals import run
from ...oauth2 import OAuth2App, OAuth2User
from ...oauth2.accounts import Account
from ...oauth2.client.client_file import saved_path
from ...oauth2.client.discovery import SETTINGS
from ...oauth2.client.metadata_calls import issuer_metadata
from ...oauth2.messages.client_assertion import read_client_assertion
from ...transport import requests as transport
from ...transport.certificates import thumbprint, tls_context
from ...web.messages import Method, Request
from ..chosen_user import ChosenUser, chosen_store, chosen_user, names_in, take_account
from ..refreshing import refresh_saving
from .access_list import descriptor_of, readers

TIMEOUT = 10.0
"""Seconds for the reply of an endpoint."""
PAGE_LIMIT = 1 << 24
"""Bytes of a reply: a consent page may be large."""


@dataclass(slots=True)
class FileFacts:
    """A file with secrets. `mode` is None where the system has none; `git` as `would_commit` says.

    `readers`: on Windows, who may read it besides its owner, administrators and the system.
    """

    path: str
    mode: int | None = None
    git: str | None = None
    readers: Sequence[str] = ()


@dataclass(slots=True)
class EndpointFacts:
    """An endpoint's reply to a request without credentials, at `at` (epoch seconds): status and `Date`, or why none."""

    name: str
    url: str
    at: float = 0.0
    status: int | None = None
    date: str = ""
    problem: SlyError | None = None


@dataclass(slots=True)
class Facts:
    """All that is known of a set-up. A value is None, and its problem is set, where it could not be had."""

    app_path: str
    now: datetime
    account: Account | None = None
    app: OAuth2App | None = None
    app_problem: SlyError | None = None
    misspelt: dict[str, str] = field(default_factory=dict[str, str])
    user_name: str = ""
    """How messages name the user; empty if none was given."""
    user_path: str = ""
    user: OAuth2User | None = None
    user_problem: SlyError | None = None
    save_problem: SlyError | None = None
    """Why new tokens could not be saved."""
    store_names: list[str] | None = None
    """The users of a store, where none of them was chosen."""
    proxy_variable: str = ""
    """The environment variable with a proxy that is not used."""
    renewable: bool = False
    """Whether new tokens can be had without a person."""
    files: list[FileFacts] = field(default_factory=list[FileFacts])
    endpoints: list[EndpointFacts] = field(default_factory=list[EndpointFacts])
    thumbprint: str = ""
    """Of the client's certificate, as tokens that are bound to it name it."""
    certificate_problem: SlyError | None = None
    assertion: str = ""
    """Where the client's assertion comes from; "" where it has none."""
    assertion_claims: dict[str, Any] | None = None
    assertion_problem: SlyError | None = None
    issuer: str = ""
    metadata: dict[str, Any] | None = None
    metadata_problem: SlyError | None = None
    refreshed: bool = False
    refresh_problem: SlyError | None = None


def gather(args: Any, console: Console) -> Facts:
    """What is known of the client and the user that the arguments name. Raises `ConfigError` for wrong usage."""
    take_account(args, None if args.user else args.app)
    has_user = bool(args.user or args.store or args.name)
    if args.refresh and not (args.user or args.name):
        raise ConfigError("--refresh needs a user.", next_step="Give USER.json, or --store and --name.")
    facts = Facts(args.app, datetime.now(UTC), getattr(args, "account", None))
    try:
        facts.app = checked_client(args.app)
        facts.misspelt = misspelt_keys(facts.app)
    except SlyError as error:
        facts.app_problem = error
    facts.proxy_variable = "" if args.proxy else unused_proxy(os.environ)
    chosen = _gather_user(args, facts, console) if has_user else None
    facts.files = [_file(path) for path in _paths(facts) if os.path.lexists(path)]
    if facts.app is not None:
        _read_certificate(facts.app, facts)
        _read_assertion(facts.app, facts)
        facts.issuer = _issuer(facts.app)
        run(_ask_provider(facts.app, facts, console))
        if args.refresh and chosen is not None and facts.user is not None:
            _refresh(facts.app, facts.user, chosen, facts, console)
    return facts


def _gather_user(args: Any, facts: Facts, console: Console) -> ChosenUser | None:
    try:
        if not args.user and not args.name:
            store = chosen_store(args)
            facts.user_name, facts.store_names = repr(store), names_in(store, None, console)
            return None
        chosen = chosen_user(args)
    except CredentialsError as error:  # a store that is not there
        facts.user_name, facts.user_problem = "The store", error
        return None
    facts.user_name, facts.user_path = chosen.label, chosen.path
    try:
        facts.user = chosen.load()
    except SlyError as error:
        facts.user_problem = error
    else:
        machine = (facts.user.extra or {}).get("grant_type") == "client_credentials"
        facts.renewable = machine or bool(facts.user.refresh_token)
        try:
            chosen.check_writable()
        except SlyError as error:
            facts.save_problem = error
    return chosen


def _paths(facts: Facts) -> list[str]:
    """The files that contain secrets: of the client, its key and certificate, and the user."""
    paths: list[Any] = [facts.app_path]
    if facts.app is not None:
        for value in (facts.app.key, facts.app.certificate):
            path = saved_path(value)
            paths += path if isinstance(path, list) else [path]
    return list(dict.fromkeys(path for path in (*paths, facts.user_path) if path))


def _file(path: str) -> FileFacts:
    mode, others = None, list[str]()
    if os.name == "nt":
        others = readers(descriptor_of(os.path.abspath(path)))
    else:
        try:
            mode = stat.S_IMODE(os.stat(path).st_mode)
        except OSError:
            mode = None  # a link without a target; reading it has been reported
    return FileFacts(path, mode, would_commit(path), others)


def _read_certificate(app: OAuth2App, facts: Facts) -> None:
    if app.certificate is None:
        return
    try:
        tls_context(app.certificate)
        facts.thumbprint = thumbprint(app.certificate)
    except SlyError as error:
        facts.certificate_problem = error


def _read_assertion(app: OAuth2App, facts: Facts) -> None:
    """Reads the JWT that a platform signed for the client; one that would be asked for over the network is not."""
    if not isinstance(app.client_assertion, Mapping):
        return
    facts.assertion = next(iter(app.client_assertion), "")
    if facts.assertion == "github_actions":
        return
    try:
        fields = run(read_client_assertion(app.client_assertion, app.client_assertion_type))
        facts.assertion_claims = _claims_of(fields["client_assertion"])
    except SlyError as error:
        facts.assertion_problem = error


def _claims_of(token: str) -> dict[str, Any]:
    try:
        claims = json.loads(urlsafe_b64decode(token.split(".")[1] + "=="))
    except (ValueError, IndexError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        step = "Check client_assertion in the client file."
        raise ConfigError("The client's assertion is not a JWT.", next_step=step)
    return claims


def _issuer(app: OAuth2App) -> str:
    """The issuer whose metadata are to be compared; empty where it is unknown, or a template."""
    issuer = app._redirect_issuer or ""
    return "" if "{" in issuer else issuer


async def _ask_provider(app: OAuth2App, facts: Facts, console: Console) -> None:
    """Asks each endpoint, and the issuer for its metadata, all at once."""
    urls: dict[str, str] = {}
    for name in SETTINGS:
        url = getattr(app, name)
        if url and url not in urls.values():
            urls[name] = url
    endpoints = [EndpointFacts(name, url) for name, url in urls.items()]
    async with waiting(console, "Asking the provider"):
        await asyncio.gather(*(_ask(endpoint, app) for endpoint in endpoints), _ask_issuer(facts))
    facts.endpoints = endpoints


async def _ask(endpoint: EndpointFacts, app: OAuth2App) -> None:
    request = Request(Method.GET, endpoint.url, certificate=app.certificate)
    try:
        reply = await transport.send(request, timeout=TIMEOUT, limit=PAGE_LIMIT)
    except SlyError as error:
        endpoint.problem = error
    else:
        endpoint.status, endpoint.date = reply.status, reply.headers.get("Date", "")
    endpoint.at = time.time()


async def _ask_issuer(facts: Facts) -> None:
    if not facts.issuer:
        return
    try:
        facts.metadata = await issuer_metadata(facts.issuer)
    except SlyError as error:
        facts.metadata_problem = error


def _refresh(app: OAuth2App, user: OAuth2User, chosen: ChosenUser, facts: Facts, console: Console) -> None:
    """A real refresh, whose tokens are saved."""
    auth = chosen.signer(app, user)
    try:
        if not auth._holder.source.can_renew(user):
            raise CredentialsError(f"{chosen.label} contains no refresh token.")
        chosen.check_writable()
        refresh_saving(auth.refresh_now, auth, console, chosen, user)
        facts.refreshed = True
    except SlyError as error:
        facts.refresh_problem = error
    if auth.user.token:
        facts.user, facts.now = auth.user, datetime.now(UTC)


