"""The question every grant ends in, and the only reader of its answer (RFC 6749 §5). Pure.

The rule: read what can be read safely, of every shape in the wild; store nothing that was not checked;
quote nothing that we sent.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from ..errors import BadReplyError, GrantEndedError, Kind, TokenError, printable
from ..web import Method, Reply, Request, Secrets, bare_url, masked, read_json, retry_after
from .user import OAuth2User

GRANT_AGAIN = "Grant again: python -m SlyAPI grant"

_CONFIGURATION = {
    "invalid_client": "Check id and secret in the client file, and how the provider wants them (--client-auth).",
    "incorrect_client_credentials": "Check id and secret in the client file.",
    "unauthorized_client": "The provider does not allow this client this kind of grant; see its console.",
    "unsupported_grant_type": "The provider does not offer this kind of grant at this token_uri.",
    "invalid_scope": "Ask for scopes that the provider knows and this client may have.",
    "redirect_uri_mismatch": "Register exactly this redirect URI with the provider.",
    "invalid_request": "The provider found the request malformed; see its description.",
}
_TRANSIENT = {"temporarily_unavailable", "server_error", "slow_down", "rate_limited", "ratelimited"}


def read_token_reply(
    reply: Reply,
    *,
    now: float,
    requested: list[str] | None = None,
    previous: OAuth2User | None = None,
    secrets: Secrets,
) -> OAuth2User:
    """The user that a token endpoint's reply tells of.

    `now` is when we asked (epoch seconds), `previous` the user whose refresh this is, `secrets` what
    we sent, masked wherever the reply echoes it. Raises `TokenError` (`GrantEndedError` where the
    refresh token is refused for good) or `BadReplyError`.
    """
    where = f"The token endpoint {bare_url(reply.url)}"
    asked = Request(Method.POST, reply.url)
    answer = _read_body(reply, asked)
    if reply.status >= 300 or _says_error(answer):
        raise refusal(reply, answer or {}, where, refreshing=previous is not None, secrets=secrets)
    if answer is None:
        read_json(reply.body, asked)  # says what the body is instead
        raise BadReplyError(f"{where} answered with JSON that is not an object.")
    problem = ""
    try:
        return OAuth2User.from_token_answer(answer, now=now, requested=requested, previous=previous)
    except BadReplyError as error:
        problem, kind = str(error), error.kind
    answer = None  # so that no traceback shows the tokens in it
    raise BadReplyError(f"{where} answered HTTP {reply.status}, but {problem}", kind=kind)


def _read_body(reply: Reply, asked: Request) -> dict[str, Any] | None:
    """The members of a JSON or form-encoded body, whatever its Content-Type says; None for anything else."""
    try:
        value = read_json(reply.body, asked)
    except BadReplyError:
        return _read_form(reply)
    if not isinstance(value, dict):
        return None
    members: list[list[tuple[str, Any]]] = []
    json.loads(reply.body.decode(json.detect_encoding(reply.body)), object_pairs_hook=members.append)
    for name in ("access_token", "refresh_token", "token_type", "error"):
        if len({repr(told) for member, told in members[-1] if member == name}) > 1:
            # RFC 8259 §4: nobody can tell which of the two is meant
            raise BadReplyError(f"{asked.name} was answered with two different values of {name}.")
    return value


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


def _says_error(answer: Mapping[str, Any] | None) -> bool:
    # GitHub, Slack and Reddit say it with HTTP 200
    return answer is not None and (bool(answer.get("error")) or answer.get("ok") is False)


def refusal(
    reply: Reply, answer: Mapping[str, Any], where: str, *, refreshing: bool, secrets: Secrets
) -> TokenError:
    """The error that a refusing reply stands for, its kind, and what to do next."""
    code, told = (masked(text, secrets) for text in _error_of(answer))
    kind, next_step = _what_helps(reply, code, told, refreshing)
    ended = refreshing and kind == "permanent"
    message = f"{where} refused{' to refresh' if refreshing else ''}: HTTP {reply.status}"
    message += "".join(f", {part}" for part in (code, told) if part) + "."
    if 300 <= reply.status < 400:
        message = f"{where} redirects elsewhere (HTTP {reply.status}), and secrets do not follow redirects."
        kind, next_step, ended = "configuration", "Put the final address into token_uri.", False
    return (GrantEndedError if ended else TokenError)(
        reply.status,
        code or f"http_{reply.status}",
        told,
        Reply(reply.status, reply.headers, masked(reply.text(), secrets)[:4096].encode(), bare_url(reply.url)),
        message=message,
        next_step=next_step,
        kind=kind,
        retry_after=retry_after(reply.headers),
    )


def _error_of(answer: Mapping[str, Any]) -> tuple[str, str]:
    """`(code, description)` in every shape seen: RFC 6749 §5.2, an object (Facebook), Twitch's, Reddit's, Zoom's."""
    error: Any = answer.get("error")
    told: Any = answer.get("error_description") or answer.get("message") or answer.get("reason")
    if isinstance(error, dict):
        told = error.get("message") or told
        error = error.get("type") or error.get("status") or error.get("code")
    if isinstance(error, list | dict) or error is None:
        error = ""
    return printable(error, 80), printable(told, 300) if isinstance(told, str) else ""


def _what_helps(reply: Reply, code: str, told: str, refreshing: bool) -> tuple[Kind, str]:
    status = reply.status
    if status in (408, 425, 429) or status >= 500 or code.casefold() in _TRANSIENT:
        return "transient", "Nothing is lost; try again later."
    if code in _CONFIGURATION:
        return "configuration", _CONFIGURATION[code]
    dead = "refresh" in (code + told).casefold() or code == "invalid_grant"
    if not dead and (status == 401 or status == 404 or status == 405):
        return "configuration", _CONFIGURATION["invalid_client"] if status == 401 else "Check token_uri."
    if refreshing and (dead or code or not reply.body.strip()):  # an empty 400 is a refused refresh too
        return "permanent", GRANT_AGAIN
    if code == "invalid_grant":
        return "permanent", "The code was used before, is too old, or is another client's. " + GRANT_AGAIN
    return ("permanent", GRANT_AGAIN) if code else ("configuration", "Check token_uri in the client file.")
