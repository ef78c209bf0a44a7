"""RFC 5849 §2, redirection-based authorization: temporary credentials, the authorization page, the token. Pure.

The rule: each request is signed with the credentials of the reply before it, and a message quotes only masked text.
"""

import hmac
import re
from collections.abc import Mapping
from typing import NoReturn
from urllib.parse import parse_qsl, unquote

from ..errors import (
    BadReplyError,
    ConfigError,
    DeniedError,
    Kind,
    RedirectError,
    StateMismatchError,
    TokenError,
    clean_traceback,
    printable,
)
from ..web.masking import masked
from ..web.messages import Method, Reply, Request, retry_after, skew
from ..web.next_steps import PROGRAM
from ..web.secret_values import SecretForm, Secrets
from ..web.urls import bare_url, redirect_pairs, with_parameters
from .signature import Signing
from .user import OAuth1User, TemporaryCredentials

GRANT_AGAIN = f"Grant again: {PROGRAM} grant oauth1"
OUT_OF_BAND = "oob"
"""The callback of a client without a redirect URI: the provider shows the verifier (§2.1)."""
_PROBLEM = re.compile(r"\boauth_problem=[\"']?([a-z_]{1,40})")  # an extension of OAuth 1.0 that many servers support
_CREDENTIAL = r"""oauth_(?:token|token_secret|verifier)["']?\s*[=:]\s*["']?([^"'&,\s<>]+)"""
_REDIRECT = {"oauth_token", "oauth_verifier", "oauth_problem", "error", "denied"}  # `denied` is Twitter's
_REPLY = {"oauth_token", "oauth_token_secret", "oauth_callback_confirmed"}
_DENIED = {"permission_denied", "user_refused", "access_denied"}


def credentials_request(uri: str, more: SecretForm, signing: Signing, *, timestamp: int, nonce: str) -> Request:
    """A request for temporary credentials (`oauth_callback` in `more`, §2.1) or the token (`oauth_verifier`, §2.3)."""
    header = signing.header("POST", uri, timestamp=timestamp, nonce=nonce, more=more)
    return Request(Method.POST, uri, headers={"Authorization": header})


def authorize_url(authorize_uri: str, temporary: TemporaryCredentials, params: Mapping[str, str]) -> str:
    """The address of the consent page (§2.2). Raises `ConfigError` for a parameter of the protocol's own."""
    if "oauth_token" in params:
        raise ConfigError("The parameters may not set oauth_token: the protocol needs it as it is.")
    ours = {"oauth_token": temporary.key, **params}
    return with_parameters(authorize_uri, ours.items(), ours)


@clean_traceback
def read_redirect(query: str, temporary: TemporaryCredentials) -> str:
    """The verifier in a redirect (§2.2), given as its query or its whole address.

    The temporary key is this protocol's state: `StateMismatchError` comes before any other check.
    `RedirectError` for a repeated parameter or no verifier, `DeniedError` for a refused consent.
    """
    pairs = [pair for pair in redirect_pairs(query) if pair[0] in _REDIRECT]
    values = SecretForm(pairs)
    theirs = values.get("oauth_token") or values.get("denied", "")
    same = hmac.compare_digest(theirs.encode("utf-8", "surrogatepass"), temporary.key.encode("utf-8", "surrogatepass"))
    if not same or not temporary.key:
        raise StateMismatchError(
            "The redirect is not for this attempt: it is forged, or from an earlier one.",
            next_step="Use the page that was opened last.",
        )
    if len(values) != len(pairs):
        raise RedirectError("The redirect repeats a parameter.", next_step="Start again.")
    if any(name in values for name in ("oauth_problem", "error", "denied")):
        raise _denied(values, temporary)
    if not values.get("oauth_verifier"):
        raise RedirectError("The redirect has no oauth_verifier (RFC 5849 §2.2).", next_step="Start the grant again.")
    return values["oauth_verifier"]


def _denied(values: SecretForm, temporary: TemporaryCredentials) -> DeniedError:
    secrets = Secrets((temporary.key, temporary.secret, values.get("oauth_verifier", "")))
    reason = values.get("oauth_problem") or values.get("error") or "access_denied"
    reason = printable(masked(reason, secrets), 80)  # masked before it is cut
    if reason in _DENIED:
        return DeniedError(f"The consent was refused ({reason}).", error=reason, denied=True)
    return DeniedError(f"The provider refused the authorization ({reason}).", error=reason)


def read_temporary_reply(reply: Reply, *, secrets: Secrets, now: float) -> TemporaryCredentials:
    """The temporary credentials in a reply (§2.1); `now` in epoch seconds. Raises `TokenError`, `BadReplyError`."""
    fields = _read(reply, "request_uri", secrets, now)
    # Servers older than 1.0a omit it; the missing verifier shows them later.
    if fields.get("oauth_callback_confirmed", "true").casefold() != "true":
        raise BadReplyError(
            f"{bare_url(reply.url)} did not accept the callback (oauth_callback_confirmed is not true).",
            next_step="Register the redirect URI with the provider.",
            kind="configuration",
        )
    return TemporaryCredentials(fields["oauth_token"], fields["oauth_token_secret"])


def read_access_reply(reply: Reply, *, secrets: Secrets, now: float) -> OAuth1User:
    """The user in a reply (§2.3). Arguments and errors as of `read_temporary_reply`."""
    fields = _read(reply, "access_uri", secrets, now)
    return OAuth1User(fields["oauth_token"], fields["oauth_token_secret"])


def _read(reply: Reply, endpoint: str, secrets: Secrets, now: float) -> SecretForm:
    """The fields of a reply with one token and its secret, whatever its Content-Type."""
    if not 200 <= reply.status < 300:
        _refuse(reply, endpoint, secrets, now)
    try:
        pairs = parse_qsl(reply.text().strip(), keep_blank_values=True, max_num_fields=64)
    except ValueError:
        pairs = []
    fields = SecretForm(pair for pair in pairs if pair[0] in _REPLY)
    lacking = [n for n in ("oauth_token", "oauth_token_secret") if sum(name == n for name, _ in pairs) != 1]
    if lacking and _PROBLEM.search(reply.text()):
        _refuse(reply, endpoint, secrets, now)  # with HTTP 200
    if lacking or not fields["oauth_token"] or not all(value.isprintable() for value in fields.values()):
        raise BadReplyError(
            f"{bare_url(reply.url)} answered HTTP {reply.status}, but not with one token and its secret.",
            next_step=f"Check {endpoint} in the client file.",
        )
    return fields


def _refuse(reply: Reply, endpoint: str, secrets: Secrets, now: float) -> NoReturn:
    """Raises the error for a refusal, with its kind and next step."""
    kept = reply.without(Secrets((*secrets, *_tokens_in(reply))))
    text = kept.text()
    found = _PROBLEM.search(text) or _PROBLEM.search(kept.headers.get("WWW-Authenticate", ""))
    code = found[1] if found else f"http_{reply.status}"
    description = "" if text.lstrip().startswith("<") else printable(text)
    message = f"{bare_url(reply.url)} refused: HTTP {reply.status}" + (f", {description}." if description else ".")
    kind, next_step = _what_helps(reply, code, endpoint, skew(reply.headers, now))
    if 300 <= reply.status < 400:
        message = f"{bare_url(reply.url)} redirects elsewhere (HTTP {reply.status}); secrets do not follow redirects."
    raise TokenError(
        reply.status,
        code,
        description,
        kept,
        message=message,
        next_step=next_step,
        kind=kind,
        retry_after=retry_after(reply.headers),
    )


def _tokens_in(reply: Reply) -> list[str]:
    """Credentials that a refusal contains all the same, to be masked."""
    text = "\n".join((reply.text()[:16384], *reply.headers.values()))
    found: list[str] = re.findall(_CREDENTIAL, text)[:16]
    return [*found, *map(unquote, found)]


def _what_helps(reply: Reply, code: str, endpoint: str, ahead: float) -> tuple[Kind, str]:
    status = reply.status
    if 300 <= status < 400:
        return "configuration", f"Put the final address into {endpoint}."
    if status in (408, 425, 429) or status >= 500:
        return "transient", "Nothing is lost; try again later."
    if ahead:  # §3.3: servers refuse a timestamp that is too far from theirs
        return "configuration", f"This machine's clock is {abs(ahead):.0f} s off the server's; set it."
    if status in (404, 405):
        return "configuration", f"Check {endpoint} in the client file."
    if endpoint == "access_uri" and code != "consumer_key_unknown":
        return "permanent", "The verifier was used before, is too old, or is wrong. " + GRANT_AGAIN
    return "configuration", "Check key and secret in the client file, and that the redirect URI is registered."
