"""The token endpoint's replies, read for every grant (RFC 6749 §5). Pure.

The rule: every reply format of real servers is read if that is safe, nothing unchecked is stored, and no message
quotes what was sent.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from ...errors import BadReplyError, GrantEndedError, Kind, TokenError, printable
from ...tokens.times import refresh_expiry
from ...tokens.user import OAuth2User
from ...tokens.user_json import read_refresh_token
from ...web.json import in_unicode, read_reply
from ...web.masking import masked
from ...web.messages import Method, Reply, Request, retry_after
from ...web.next_steps import PROGRAM
from ...web.secret_values import SecretJson, Secrets
from ...web.urls import bare_url

GRANT_AGAIN = f"Grant again: {PROGRAM} grant"
_CHECK_ADDRESS = "Check token_uri in the client file."

_CONFIGURATION = {
    "invalid_client": "Check id and secret in the client file, and how the provider takes them (--client-auth).",
    "incorrect_client_credentials": "Check id and secret in the client file.",
    "unauthorized_client": "The provider does not allow this client this kind of grant; see its console.",
    "unsupported_grant_type": "The provider does not offer this kind of grant at this token_uri.",
    "invalid_scope": "Ask for scopes that the provider knows and this client may have.",
    "invalid_target": "Check resource (in the client file or the call) and audience: the provider does not know them, "
    "does not allow them to this client or grant, or requires one (RFC 8707).",
    "redirect_uri_mismatch": "Register exactly this redirect URI with the provider.",
    "invalid_dpop_proof": "The provider refused the proof of the key; check this machine's clock.",
    "invalid_request": "The provider found the request malformed; see its description.",
}
_TRANSIENT = {408, 413, 421, 425, 429, 431}
# Rarely needed: `re` compiles them at the first use and caches them.
_RATE_LIMITED = r"rate.?limit|rate exceeded|too.?many|throttl|quota|exhausted|limit (?:was )?(?:reached|exceeded)"
_PASSING = (
    r"internal.?(?:server.?)?error|fatal.?error|server.?error|unavailable|time.?out|timed out|temporar|try again|"
    r"slow.?down|busy|overload|maintenance"
)
_ENDED = {"invalid_grant", "access_revoked", "token_revoked"}
# HubSpot, GitHub, Slack, Yahoo, Strava and Twitch name the refresh token; X and Zoom call it an invalid request
_BAD = r"(?:invalid|bad|expired|revoked|unknown|incorrect|too old)"
_IS_BAD = rf"(?:[\W_]+(?:is|was|has|been|passed|provided|supplied|code|refresh_token))*[\W_]+{_BAD}"
_ENDED_TEXT = rf"{_BAD}[\W_]+refresh.?token|(?<!type.)(?<!type..)refresh.?token{_IS_BAD}"
_ENDED_REQUEST = rf"{_ENDED_TEXT}|\binvalid token\b|(?:^|\bthe )token{_IS_BAD}"
_OF_CODE = r"(?<![a-z])code(?![a-z])|verifier|redirect"
_MARKUP = r"(?is)<(script|style)\b.*?</\1|<[^<>]*>?|>"


def read_token_reply(
    reply: Reply,
    *,
    now: float,
    requested: list[str] | None = None,
    previous: OAuth2User | None = None,
    secrets: Secrets,
    refresh_life_unit: float = 1.0,
    dpop_key: SecretJson | None = None,
) -> OAuth2User:
    """The user in a token endpoint's reply.

    `now` is when the request was sent (epoch seconds, by the provider's clock if known), `previous` the user
    refreshed; messages mask `secrets`, those of the request; `refresh_life_unit` in seconds; `dpop_key` is the key of
    the request's proof. Raises `TokenError` (`GrantEndedError` if the refresh token is refused for good),
    `BadReplyError`, or `IdentityError` for a refresh that names another account (`sub`).
    """
    answer = read_answer(reply)
    if reply.status >= 300 or is_error(answer):
        raise refusal(reply, answer or {}, _name(reply), refreshing=previous is not None, secrets=secrets)
    if answer is None:
        raise _unreadable(reply)
    twice = _repeated_member(reply)
    try:
        user = OAuth2User.from_token_answer(
            answer,
            now=now,
            requested=requested,
            previous=previous,
            refresh_life_unit=refresh_life_unit,
            dpop_key=dpop_key,
        )
        if twice:
            raise BadReplyError(f"it has two different values of {twice}.")
    except BadReplyError as error:
        error.args = (f"{_name(reply)} answered HTTP {reply.status}, but {masked(str(error.args[0]), secrets)}",)
        error.next_step = error.next_step or _CHECK_ADDRESS
        if previous is not None and twice != "refresh_token":
            error._kept = _with_refresh_token(previous, answer, now, refresh_life_unit)
        raise
    tokens = (*secrets, user.token, user.refresh_token or "")
    scopes = " ".join(user.scopes)
    if scopes and masked(scopes, tokens) != scopes:  # scopes are printed, so no secret is one
        user.scopes = [scope for scope in user.scopes[:1000] if masked(scope, tokens) == scope]  # bounded work
    return user


def _with_refresh_token(
    previous: OAuth2User, answer: Mapping[str, Any], now: float, refresh_life_unit: float
) -> OAuth2User | None:
    """The user with the new refresh token of a reply whose access token is not usable; None if it has none."""
    token = None
    with suppress(BadReplyError):
        token = read_refresh_token(answer.get("refresh_token"))
    if not token or token == previous.refresh_token:
        return None
    return replace(previous, refresh_token=token, refresh_expires_at=refresh_expiry(answer, now, refresh_life_unit))


def _name(reply: Reply) -> str:
    return f"The token endpoint {bare_url(reply.url)}"


def read_answer(reply: Reply) -> dict[str, Any] | None:
    """The members of a JSON or form-encoded body, whatever its Content-Type; None for anything else."""
    try:
        value = read_reply(reply, Request(Method.POST, reply.url))
    except BadReplyError:
        try:
            value = json.loads(_in_unicode(reply))
        except (ValueError, RecursionError):
            return _read_form(reply)
    return value if isinstance(value, dict) else None


def _in_unicode(reply: Reply) -> str | bytes:
    """The body, with bytes replaced that its encoding does not have: tokens are ASCII, so they do not lose any."""
    try:
        return in_unicode(reply.body, reply.encoding)
    except UnicodeDecodeError:
        return reply.text()


_ONCE = ("access_token", "refresh_token", "id_token", "token_type", "error")
_QUOTED = [f'"{name}"'.encode() for name in _ONCE]


def _repeated_member(reply: Reply) -> str:
    """The first member with two different values in a JSON object (RFC 8259 §4: readers differ in which they use)."""
    body = reply.body
    if not (b"\0" in body or b"\\" in body) and max(map(body.count, _QUOTED)) < 2:
        return ""  # as a text: at a tenth of the cost
    objects: list[list[tuple[str, Any]]] = []
    try:
        json.loads(_in_unicode(reply), object_pairs_hook=objects.append)
    except (ValueError, RecursionError):
        return ""  # a form, whose reader refuses repeated fields
    for name in _ONCE:
        if len({repr(value) for member, value in objects[-1] if member == name}) > 1:
            return name
    return ""


def _unreadable(reply: Reply) -> BadReplyError:
    """The error that names what the body is instead of a JSON object."""
    request = Request(Method.POST, reply.url)
    try:
        read_reply(reply, request)
        problem = f"{request.name} was answered with JSON that is not an object."
    except BadReplyError as error:
        problem = str(error.args[0])
    return BadReplyError(problem, next_step=_CHECK_ADDRESS)


def _read_form(reply: Reply) -> dict[str, Any] | None:
    text = reply.text().strip()
    if not text or text[0] in "<{[" or "=" not in text:
        return None
    try:
        fields = parse_qsl(text, max_num_fields=64, strict_parsing=True)
    except ValueError:
        return None
    names = [name for name, _ in fields]
    known = {"access_token", "error", "token_type", "error_description"}
    return dict(fields) if known.intersection(names) and len(names) == len(set(names)) else None


def is_error(answer: Mapping[str, Any] | None) -> bool:
    """Whether an answer is a refusal, whatever its status (GitHub, Slack and Reddit send HTTP 200)."""
    if answer is None:
        return False
    failed = answer.get("error") or answer.get("ok") is False or answer.get("success") is False
    return bool(failed or (answer.get("errors") and not answer.get("access_token")))


def refusal(
    reply: Reply,
    answer: Mapping[str, Any],
    where: str,
    *,
    secrets: Secrets,
    refreshing: bool = False,
    setting: str = "token_uri",
) -> TokenError:
    """The error for a refusal, with its kind and next step; `setting` has the endpoint's address."""
    secrets = Secrets((*secrets, *_tokens_in(reply)))
    # masked before it is cut: a cut could leave the first half of a secret
    code, description = (masked(text[:4096], secrets) for text in _error_of(answer))
    code, description = printable(code, 80), printable(description)
    kind, next_step = _what_helps(reply, code, description, refreshing)
    ended = refreshing and kind == "permanent"
    kept = reply.without(secrets)
    parts = [part for part in (code, description) if part] or [printable(re.sub(_MARKUP, " ", kept.text()), 200)]
    message = f"{where} refused{' to refresh' if refreshing else ''}: HTTP {reply.status}"
    message += "".join(f", {part}" for part in parts if part) + "."
    if 300 <= reply.status < 400:
        message = f"{where} redirects elsewhere (HTTP {reply.status}), and secrets do not follow redirects."
        kind, next_step, ended = "configuration", "Put the final address into token_uri.", False
    return (GrantEndedError if ended else TokenError)(
        reply.status,
        code or f"http_{reply.status}",
        description,
        kept,
        message=message,
        next_step=next_step.replace("token_uri", setting),
        kind=kind,
        retry_after=retry_after(reply.headers),
    )


_TOKEN = r'''(?:"(?:access|refresh|id)_token"\s*:\s*"|(?:^|[&?])(?:access|refresh|id)_token=)([!#-%'-~]+)'''


def _tokens_in(reply: Reply) -> list[str]:
    """Tokens that a refusal contains all the same, whole or cut short, to be masked."""
    return re.findall(_TOKEN, reply.text()[:16384])[:8]


def _error_of(answer: Mapping[str, Any]) -> tuple[str, str]:
    """`(code, description)` in the formats of RFC 6749 §5.2 and of many providers."""
    texts = [answer.get(name) for name in ("error_description", "message", "reason", "error_message")]  # Twitch, Zoom
    error, errors = answer.get("error"), answer.get("errors")
    if not error and errors and isinstance(errors, list):
        error = errors[0]  # Fitbit, Strava
    if isinstance(error, dict):  # Facebook, Google, Yahoo
        members: dict[str, Any] = error
        texts.insert(0, members.get("message"))
        named = [members[name] for name in ("errorType", "type", "status", "errorId") if members.get(name)]
        place = [members[name] for name in ("resource", "field", "code") if isinstance(members.get(name), str)]
        error = named[0] if named else " ".join(place) or members.get("code")
    if not error:
        error = next((text for text in (answer.get("error_type"), answer.get("status")) if isinstance(text, str)), "")
    code = str(error) if isinstance(error, str | int) and not isinstance(error, bool) else ""  # Reddit: a number
    return code, next((text for text in texts if text and isinstance(text, str)), "")


def _what_helps(reply: Reply, code: str, description: str, refreshing: bool) -> tuple[Kind, str]:
    status, code, description = reply.status, code.casefold(), description.casefold()
    text = f"{code} {description}"
    final = any(word in text for word in ("invalid", "expired", "revoked"))
    passing = re.search(_RATE_LIMITED, text) or (not final and re.search(_PASSING, text))
    if code == "use_dpop_nonce" or status in _TRANSIENT or status >= 500 or passing:
        return "transient", "Nothing is lost; try again later."
    if refreshing and _ends_grant(reply, code, description):
        return "permanent", GRANT_AGAIN
    if code == "invalid_grant":
        return "permanent", "The code was used before, is too old, or is another client's. " + GRANT_AGAIN
    if code in _CONFIGURATION:
        return "configuration", _CONFIGURATION[code]
    if status == 401 or "client" in (code or description):  # Slack's bad_client_secret
        return "configuration", _CONFIGURATION["invalid_client"]
    if status in (404, 405):
        return "configuration", _CHECK_ADDRESS
    if not text.strip() and (refreshing or reply.body.lstrip().startswith(b"<")):
        return "transient", "A proxy or firewall may have answered; try again later, and check token_uri."
    if refreshing:
        return "configuration", f"The tokens are kept. If it lasts, check token_uri, or grant again: {PROGRAM} grant"
    return ("permanent", GRANT_AGAIN) if text.strip() else ("configuration", _CHECK_ADDRESS)


def _ends_grant(reply: Reply, code: str, description: str) -> bool:
    """Whether a refusal to refresh says that the grant is over. What does not say so may pass."""
    if code in _CONFIGURATION:  # our request is well-formed: an invalid one is a dead refresh token
        return code == "invalid_request" and re.search(_ENDED_REQUEST, description) is not None
    if code in _ENDED or re.search(_ENDED_TEXT, f"{code}\n{description}"):
        return True
    return reply.status == 400 and not reply.body.strip()


def refuses_client_auth(error: TokenError) -> bool:
    """Whether a refused exchange may succeed with the other client authentication: the code is still valid then."""
    code, text = error.error.casefold(), f"{error.error} {error.error_description}".casefold()
    if code in ("invalid_client", "unauthorized_client"):
        return error.status < 500
    of_another = code == "invalid_grant" or re.search(_OF_CODE, text) or re.search(_RATE_LIMITED, text)
    if error.status not in (200, 400, 401, 403) or of_another:
        return False
    empty = not error.response.body.strip()
    return error.status in (401, 403) or empty or code == "invalid_request" or "client" in text
