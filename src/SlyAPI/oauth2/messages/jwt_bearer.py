"""RFC 7523 §2.1, the JWT bearer grant: a signed assertion in exchange for a token. Pure."""

from collections.abc import Iterable
from typing import Any

from ...errors import BadReplyError, Kind, TokenError
from ...web.secret_values import SecretForm

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFETIME = 3600
"""Seconds for which an assertion is valid; Google refuses longer ones."""
_DATED_BACK = 60
"""Seconds by which `iat` is before now: a provider whose clock is behind refuses an assertion from the future."""


def claims(issuer: str, scopes: Iterable[str], audience: str, *, subject: str | None, now: float) -> dict[str, Any]:
    """The claims of the assertion (RFC 7523 §3), `scope` for Google; `now` in epoch seconds by the provider's clock."""
    issued = int(now) - _DATED_BACK
    stated: dict[str, Any] = {"iss": issuer, "aud": audience, "iat": issued, "exp": issued + LIFETIME}
    scope = " ".join(scopes)
    if scope:
        stated["scope"] = scope
    if subject:
        stated["sub"] = subject
    return stated


def jwt_bearer_form(assertion: str, scope: str = "") -> SecretForm:
    """The form that exchanges an assertion for a token."""
    form = SecretForm(grant_type=GRANT_TYPE, assertion=assertion)
    if scope:
        form["scope"] = scope
    return form


_DELEGATION = "Have the domain's administrator allow the account exactly these scopes (domain-wide delegation)."
_NEXT_STEPS = {
    "invalid_client": "The provider does not know the account: check token_uri and client_email in the key file.",
    "invalid_scope": "Ask for scopes that the provider knows and this account may have.",
    "unauthorized_client": "The provider does not allow the account this; see its console.",
    "invalid_grant": "Check that key and account still exist, and that this machine's clock is right.",
}
_FOR_SUBJECT = {
    "unauthorized_client": _DELEGATION,
    "access_denied": _DELEGATION,
    "invalid_grant": "Check that the subject is a user of the domain, that key and account still exist, and this "
    "machine's clock.",
}


def what_helps(error: TokenError | BadReplyError, subject: str | None) -> tuple[Kind, str]:
    """Kind and next step of a failed grant for a service account, which no person can grant again."""
    if error.kind == "transient":
        return error.kind, error.next_step.replace("client file", "key file")
    code = error.error if isinstance(error, TokenError) else ""
    step = (_FOR_SUBJECT.get(code) if subject else None) or _NEXT_STEPS.get(code)
    if step is None and (error.kind == "permanent" or "id and secret" in error.next_step):
        step = "Check the key file, and what the provider's console shows for the account."
    return "configuration", step or error.next_step.replace("client file", "key file")
