"""What a login for a resource asks for: which authorization server, which client, which scopes. Pure.

The rule: what the resource and the server publish is compared with what is asked for before a person is asked; a
client and its tokens serve the one issuer that they are from.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import BadReplyError, ConfigError, printable
from ...tokens.scopes import OFFLINE, split_scopes
from ...tokens.user import OAuth2User
from ...web.challenges import Challenge
from ...web.secret_values import Secrets
from ..client.app import OAuth2App
from ..client.discovery import client_settings
from ..messages.protected_resource import ResourceMetadata, origin_of

MADE_FOR = "made_for"
"""Further key of a client file that `for_resource` wrote, which it may replace: the resource's URL."""


@dataclass(frozen=True)
class Wish:
    """A login that a refused request calls for: the challenge, what the token lacks, and the tokens it replaces."""

    challenge: Challenge | None
    replaces: Secrets
    scopes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What is published for a login; `dpop`: whether tokens have to be bound to a key (RFC 9449)."""

    resource: str
    server: Mapping[str, Any]
    scopes: list[str]
    dpop: bool = False

    @property
    def issuer(self) -> str:
        return str(self.server["issuer"])


def place_in(challenge: Challenge | None) -> str | None:
    """Where a challenge says that the resource's metadata are (RFC 9728 §5.1)."""
    return challenge.params.get("resource_metadata") if challenge else None


def challenge_of(challenges: Iterable[Challenge]) -> Challenge | None:
    """The challenge that says most of how to log in: one that names metadata, else one of scheme Bearer or DPoP."""
    fit = [one for one in challenges if one.is_scheme("Bearer") or one.is_scheme("DPoP")]
    return next((one for one in fit if place_in(one)), fit[0] if fit else None)


def issuer_for(url: str, found: ResourceMetadata | None, issuer: str | None) -> str:
    """The client's own `issuer` where the resource trusts it, else the first that it names, else its origin."""
    trusted = (found.issuers if found else []) or [origin_of(url)]
    return issuer if issuer in trusted else trusted[0]


def undocumented(issuer: str) -> dict[str, Any]:
    """The endpoints of a server without metadata, where the resource has none either (MCP 2025-03-26)."""
    names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "registration_endpoint": "register"}
    return {"issuer": issuer, **{name: f"{issuer}/{path}" for name, path in names.items()}}


def check_pkce(server: Mapping[str, Any]) -> None:
    """Raises `ConfigError` for a server that does not offer PKCE (RFC 7636) in its metadata."""
    if not client_settings(server)["pkce_offered"]:
        raise ConfigError(
            f"{printable(server['issuer'], 100)} does not offer PKCE with S256 (code_challenge_methods_supported).",
            next_step="A login that begins at a resource's URL needs it; make the client by hand for another login.",
        )


def scopes_to_ask(
    given: Iterable[str], wish: Wish, found: ResourceMetadata | None, server: Mapping[str, Any], user: OAuth2User | None
) -> list[str]:
    """The scopes of a login: those given, else of the challenge, else those that the resource lists; a step-up keeps
    what was granted. `offline_access` if and only if the server lists it, or the program does.
    """
    given = split_scopes(given)
    first = given or list(wish.challenge.scopes if wish.challenge else ()) or (found.scopes if found else [])
    granted = user.scopes if user is not None and wish.scopes else []
    wanted = split_scopes([*granted, *wish.scopes] if wish.scopes else first)
    offered = split_scopes(server.get("scopes_supported"))
    kept = [scope for scope in wanted if scope != OFFLINE or scope in given]
    return [*kept, OFFLINE] if OFFLINE in offered and OFFLINE not in kept else kept


def check_client(app: OAuth2App, plan: Plan) -> bool:
    """Whether the client is of the plan's server; False for one that `for_resource` made and may make anew.

    Raises `ConfigError` for another client of another issuer, which must not show its secret there.
    """
    if not app.id:
        return False
    if app.issuer in (None, plan.issuer):
        return True
    if MADE_FOR in app.extra:
        return False
    raise ConfigError(
        f"The client is of {printable(app.issuer, 100)}, and the resource trusts {printable(plan.issuer, 100)}.",
        next_step="Give a client file that does not exist yet, or one of a client there.",
    )


def of_document(plan: Plan, document_url: str, redirect_uri: str) -> OAuth2App:
    """The client whose id is its metadata document's URL."""
    settings = {**client_settings(plan.server), "client_auth": "none", "redirect_uri": redirect_uri}
    return OAuth2App(**{**settings, "id": document_url, "secret": None})


def wants_dpop(challenge: Challenge | None, found: ResourceMetadata | None) -> bool:
    """Whether the challenge or the metadata of the resource ask for DPoP (RFC 9449 §7.1, RFC 9728 §2)."""
    return (challenge is not None and challenge.is_scheme("DPoP")) or (found is not None and found.dpop_required)


def check_resource(found: ResourceMetadata | None, url: str) -> str:
    """The resource to ask for: exactly as published, else the URL. Raises `BadReplyError` for an empty one."""
    resource = found.resource if found else url
    if not resource:
        raise BadReplyError("The resource's metadata name no resource.", kind="configuration")
    return resource
