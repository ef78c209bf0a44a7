"""RFC 6749 §4.1, the authorization code grant with RFC 7636: the URL, the redirect, the exchange. Pure."""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from secrets import token_urlsafe
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from ...errors import ConfigError, DeniedError, RedirectError, StateMismatchError, clean_traceback, printable
from ...web.masking import masked
from ...web.secret_values import SecretForm, Secrets
from ...web.urls import redirect_pairs, with_parameters

PROTOCOL_PARAMETERS = frozenset(
    {"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"}
)
"""Parameters that `auth_params` may not override."""

_DENIED = {"access_denied", "user_denied", "consent_required", "login_required", "interaction_required"}


class AuthorizationURL(NamedTuple):
    """The address to open in the user's browser, and the verifier to keep until the redirect."""

    url: str
    verifier: str
    challenge: str

    @property
    def state(self) -> str:
        """The state that the redirect must repeat."""
        return dict(parse_qsl(urlsplit(self.url).query)).get("state", "")

    def __repr__(self) -> str:
        return f"AuthorizationURL({self.url.partition('?')[0]!r}, verifier='***')"


def new_verifier() -> str:
    """A fresh code verifier: 256 bits, 43 characters (RFC 7636 §4.1)."""
    return token_urlsafe(32)


def s256_challenge(verifier: str) -> str:
    """The S256 code challenge of a verifier (RFC 7636 §4.2)."""
    return urlsafe_b64encode(sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode("ascii")


def check_extras(extras: Mapping[str, str | None]) -> None:
    """Raises `ConfigError` for parameters that would override the protocol's."""
    clash = sorted(PROTOCOL_PARAMETERS.intersection(extras))
    if clash:
        raise ConfigError(f"auth_params may not set {', '.join(clash)}: the protocol sets it.")


def authorization_url(
    auth_uri: str,
    *,
    client_id: str,
    redirect_uri: str,
    state: str,
    scope: str,
    challenge: str,
    extras: Mapping[str, str | None],
    resources: Sequence[str] = (),
) -> str:
    """The authorization request (RFC 6749 §4.1.1, RFC 7636 §4.3). The query of `auth_uri` stays.

    `extras` are the provider's own parameters; None removes one, also from `auth_uri`'s query.
    Raises `ConfigError` for one that would override the protocol's.
    """
    check_extras(extras)
    ours: dict[str, str] = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "state": state,
    }
    if scope:
        ours["scope"] = scope
    if challenge:
        ours |= {"code_challenge": challenge, "code_challenge_method": "S256"}
    ours |= {name: value for name, value in extras.items() if value is not None}
    pairs = [*ours.items(), *(("resource", resource) for resource in resources)]  # RFC 8707 §2
    return with_parameters(auth_uri, pairs, {*ours, *extras})


@clean_traceback
def read_redirect(
    query: str, *, state: str, issuer: str | None = None, issuer_required: bool = False
) -> str:
    """The code in a redirect (RFC 6749 §4.1.2), given as its query or its whole address.

    `StateMismatchError` comes before any other check. Raises `RedirectError` for a repeated parameter,
    another issuer's `iss` (RFC 9207) or no code, `DeniedError` for a refusal.
    """
    values, repeated = _parameters(query)
    check_state(values.get("state"), state)
    if repeated:  # checked after the state: a forged redirect must not end the grant
        raise RedirectError("The redirect repeats a parameter (RFC 6749 §3.1).", next_step="Start again.")
    iss = values.get("iss")
    secrets = Secrets((state, values.get("code", "")))
    if issuer and (iss != issuer if iss is not None else issuer_required):
        found, expected = (printable(name, 100) for name in (masked(str(iss), secrets), issuer))
        raise RedirectError(
            f"The redirect is from issuer {found!r}, not from {expected!r} (RFC 9207).",
            next_step="Check auth_uri, and issuer in the client file.",
        )
    if "error" in values:
        raise _denied(values, secrets)
    code = values.get("code", "")
    if not code or not all(" " <= c <= "~" for c in code):  # RFC 6749 A.11
        raise RedirectError("The redirect has no code.", next_step="Start the grant again.")
    return code


def check_state(theirs: object, ours: str) -> None:
    """Raises `StateMismatchError` unless the states are equal."""
    text = theirs if isinstance(theirs, str) else ""
    if not ours or not hmac.compare_digest(*(one.encode("utf-8", "surrogatepass") for one in (text, ours))):
        raise StateMismatchError(
            "The redirect's state is missing or not ours: it is forged, or from an earlier attempt.",
            next_step="Use the page that was opened last.",
        )


def _parameters(query: str) -> tuple[dict[str, str], bool]:
    """The parameters by name, and whether one that matters is repeated; a repeated state is removed."""
    pairs = redirect_pairs(query)
    values = dict(pairs)
    repeated = {n for n in values if sum(name == n for name, _ in pairs) > 1}
    if "state" in repeated:
        del values["state"]
    return values, bool(repeated & {"code", "error", "iss"})


def _denied(values: Mapping[str, str], secrets: Secrets) -> DeniedError:
    # masked before it is cut: a cut could leave the first half of a secret
    error = printable(masked(values["error"], secrets), 80)
    text = printable(masked(values.get("error_description", ""), secrets), 300)
    reason = f"{error}: {text}" if text else error
    if error in _DENIED:
        return DeniedError(f"The consent was refused ({reason}).", error=error, denied=True)
    if error == "invalid_scope":
        step = "Ask for scopes that the provider knows and this client may have."
    elif error in ("temporarily_unavailable", "server_error"):
        step = "Try again later."
    else:
        step = "Check the client file and what is registered with the provider."
    return DeniedError(f"The provider refused the authorization ({reason}).", error=error, next_step=step)


def exchange_form(code: str, verifier: str, redirect_uri: str) -> SecretForm:
    """The form that exchanges the code for tokens (RFC 6749 §4.1.3, RFC 7636 §4.5); `scope` is not resent (§3.2)."""
    form = SecretForm(grant_type="authorization_code", code=code, redirect_uri=redirect_uri)
    if verifier:
        form["code_verifier"] = verifier
    return form
