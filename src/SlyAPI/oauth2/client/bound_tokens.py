"""To which client, at which provider, a user's tokens were issued, as the user file notes it. Pure.

The rule: tokens go to the client and provider that they were issued to, and to no other. A file that notes nothing is
of the client that the program gives, as it was with 0.6; it is noted with its next save.
"""

from collections.abc import Mapping

from ...errors import CredentialsError, printable
from ...tokens.user import OAuth2User
from ...web.urls import bare_url
from .client import Client
from .providers import host_of, provider_of


def note_client(user: OAuth2User, app: Client, previous: OAuth2User | None = None) -> None:
    """Notes to whom the tokens were issued; `previous`, whom they renew, may be an account's."""
    issuer = {"issuer": app.issuer} if app.issuer else {}
    before = previous.issued_to if previous is not None else None
    account = {"account": before["account"]} if before and "account" in before else {}
    user.issued_to = {"client": app.id, "token_uri": app.token_uri, **issuer, **account}


def is_bound(user: OAuth2User, app: Client) -> bool:
    """Whether nothing says that the tokens were issued to another client, or at another provider."""
    return not _other(user, app)


def check_bound(user: OAuth2User, app: Client) -> None:
    """Raises `CredentialsError` for tokens that were issued to another client, or at another provider."""
    if other := _other(user, app):
        raise CredentialsError(
            f"The user's tokens were issued to {other}, and this client is {_named(app.id, app.token_uri)}: "
            "nothing was sent.",
            next_step=f"Give the client file of {other}, or grant again with this one.",
        )


def _other(user: OAuth2User, app: Client) -> str:
    """The client that the tokens were issued to, where it is another one."""
    if (issued_to := user.issued_to) is not None:
        same = issued_to["client"] == app.id and _same_provider(issued_to, app)
        return "" if same else _named(issued_to["client"], issued_to["token_uri"])
    extra = user.extra or {}
    client, issuer = extra.get("client_id"), extra.get("issuer")
    if client not in (None, app.id) or (issuer and app.issuer and issuer != app.issuer):
        return _named(str(client or app.id), str(issuer or ""))
    return ""


def _same_provider(issued_to: Mapping[str, str], app: Client) -> bool:
    """One row of the table of providers, one issuer, or, where an issuer is unknown, one host."""
    provider = provider_of(issued_to["token_uri"])
    if provider is not None and provider is provider_of(app.token_uri):
        return True
    if issued_to.get("issuer") and app.issuer:
        return issued_to["issuer"] == app.issuer
    return host_of(issued_to["token_uri"]) == host_of(app.token_uri)


def _named(client: str, uri: str) -> str:
    return f"client {printable(client, 100)!r}" + (f" ({bare_url(uri)})" if uri else "")
