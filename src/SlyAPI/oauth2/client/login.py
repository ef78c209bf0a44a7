"""A login in two calls: the state kept in the user's session, and the redirect that ends the login. Pure.

The rule: a redirect is checked against the kept state before anything in it is used, and a login ends once.
"""

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Self
from urllib.parse import urlencode

from ...errors import ConfigError, LoginEndedError, RedirectError, StateMismatchError, clean_traceback
from ...web.secret_values import SecretJson
from ...web.urls import bare_url
from ..messages.authorization_code import read_redirect

LIFETIME = 600.0
"""Seconds that a user has for signing in and consenting."""

_LONGEST_REDIRECT = 1 << 15
_LONGEST_TEXT = 4096
_MOST_SCOPES = 1000
_STATE = re.compile(r"[\x21-\x7e]{1,1024}")
_VERIFIER = re.compile(r"([A-Za-z0-9._~-]{43,128})?")  # RFC 7636 §4.1; empty where PKCE is off
_AGAIN = "Begin the login again."


@dataclass(frozen=True, slots=True)
class Login:
    """One login in progress. Open `url` in the user's browser; keep `to_dict()` in their session (its key: `state`).

    `scopes` are those requested; `issuer` is the `iss` that the redirect must name (RFC 9207); `began_at` is in
    epoch seconds; `resource` are the resources that this login alone asked for (RFC 8707); `nonce` and `max_age`
    (seconds) are what the id_token must answer; `dpop_key` is the private key of the tokens to come (RFC 9449), so that
    `to_dict()` must stay on the server or be encrypted. `expires_at` is when the `url` of a pushed or signed
    request ends (RFC 9126, RFC 9101).
    A login read from a session has neither.
    """

    url: str
    state: str
    verifier: str
    redirect_uri: str
    scopes: list[str]
    client_id: str
    issuer: str | None
    began_at: float
    resource: tuple[str, ...] | None = None
    nonce: str | None = None
    max_age: float | None = None
    dpop_key: SecretJson | None = None
    expires_at: datetime | None = None

    def __repr__(self) -> str:
        return f"Login({bare_url(self.url)!r}, redirect_uri={bare_url(self.redirect_uri)!r}, scopes={self.scopes!r})"

    def at(self, url: str, expires_at: datetime | None) -> Self:
        """The same login with the address of its pushed or signed request."""
        return replace(self, url=url, expires_at=expires_at)

    def to_dict(self) -> dict[str, Any]:
        """The state to keep until the redirect, as JSON of about 400 bytes; prints only its names."""
        more = {name: value for name in _KEPT_IF_SET if (value := getattr(self, name)) is not None}
        more |= {} if self.resource is None else {"resource": [*self.resource]}
        return SecretJson({name: getattr(self, name) for name in _KEPT} | more)

    @classmethod
    @clean_traceback
    def from_dict(cls, kept: Mapping[str, Any] | None) -> Self:
        """The login from a kept `to_dict()`; further keys are ignored.

        Raises `StateMismatchError` for None, and `RedirectError` for anything that is not a kept login.
        """
        if kept is None:
            raise StateMismatchError("No login was begun in this browser, or it has ended.", next_step=_AGAIN)
        if not _is_sound(kept):
            raise RedirectError("The login kept in the session is damaged.", next_step=_AGAIN)
        members = {name: kept[name] for name in _KEPT} | {name: kept.get(name) for name in _KEPT_IF_SET}
        if members["dpop_key"] is not None:
            members["dpop_key"] = SecretJson(members["dpop_key"])
        members["resource"] = None if kept.get("resource") is None else tuple(kept["resource"])
        return cls("", **{**members, "scopes": list(kept["scopes"]), "began_at": float(kept["began_at"])})


_KEPT = ("state", "verifier", "redirect_uri", "scopes", "client_id", "issuer", "began_at")
_KEPT_IF_SET = ("nonce", "max_age", "dpop_key")


def _is_sound(kept: Any) -> bool:
    """Whether each member has its type and a plausible size."""
    if not isinstance(kept, Mapping) or not all(name in kept for name in _KEPT):
        return False
    state, verifier, redirect_uri, scopes, client_id, issuer, began_at = (kept[name] for name in _KEPT)
    resource = kept.get("resource")
    return (
        (resource is None or (isinstance(resource, list | tuple) and all(map(_is_text, resource))))
        and isinstance(state, str)
        and _STATE.fullmatch(state) is not None
        and isinstance(verifier, str)
        and _VERIFIER.fullmatch(verifier) is not None
        and all(_is_text(text) for text in (redirect_uri, client_id, "" if issuer is None else issuer))
        and isinstance(scopes, list | tuple)
        and len(scopes) <= _MOST_SCOPES
        and all(_is_text(scope) for scope in scopes)
        and _is_time(began_at)
        and _is_text("" if kept.get("nonce") is None else kept["nonce"])
        and (kept.get("dpop_key") is None or isinstance(kept["dpop_key"], Mapping))
        and _is_time(0 if kept.get("max_age") is None else kept["max_age"])
    )


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12  # false for NaN


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isprintable()


def new_state() -> str:
    """A state that cannot be guessed: 192 bits."""
    return secrets.token_urlsafe(24)


class FinishedLogins:
    """The last `most` logins that ended in this process, so that a repeated redirect costs no token request.

    Across processes and restarts the session forgets a login, and the provider accepts a code once (RFC 6749 §4.1.2).
    """

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._until: dict[bytes, float] = {}  # by the state's digest, in the order in which they ended

    def ends(self, state: str, until: float, now: float) -> bool:
        """Ends the login, remembered until `until`; False if it had ended before."""
        if self.has(state, now):
            return False
        self._until[sha256(state.encode()).digest()] = until
        return True

    def has(self, state: str, now: float) -> bool:
        """Whether the login ended, as far as it is remembered."""
        while self._until:
            oldest = next(iter(self._until))
            if len(self._until) < self._most and self._until[oldest] >= now:
                break
            del self._until[oldest]
        return sha256(state.encode()).digest() in self._until


def read_answer(
    login: Login,
    redirect: Any,
    finished: FinishedLogins,
    *,
    client_id: str,
    issuer: str | None,
    issuer_required: bool,
    lifetime: float,
    now: float,
) -> str:
    """The code in a redirect, which ends the login. Raises `RedirectError`."""
    try:
        query = query_of(redirect)
        code = read_redirect(query, state=login.state, issuer=login.issuer, issuer_required=issuer_required)
    except StateMismatchError:
        raise
    except RedirectError:  # of this login, which ends with it
        _end(login, finished, client_id, issuer, lifetime, now)
        raise
    _end(login, finished, client_id, issuer, lifetime, now)
    return code


def _end(
    login: Login, finished: FinishedLogins, client_id: str, issuer: str | None, lifetime: float, now: float
) -> None:
    """Ends the login. Raises `RedirectError` for another client's login, `LoginEndedError` for one that has ended."""
    if (login.client_id, login.issuer) != (client_id, issuer):
        # a login begun at one provider must not end at another: mix-up attack (RFC 9700 §4.4)
        raise RedirectError("This login was begun for another client or provider.", next_step=_AGAIN)
    if not finished.ends(login.state, login.began_at + lifetime, now):
        raise LoginEndedError("This login has already ended.", next_step=_AGAIN)
    if abs(now - login.began_at) > lifetime:  # in the future: clocks of two machines, or a forged session
        raise LoginEndedError(f"This login began more than {lifetime:.0f} s ago.", next_step=_AGAIN)


def query_of(redirect: Any) -> str:
    """The redirect as text: a URL, a query, or a framework's mapping of the query, repeated names kept."""
    if isinstance(redirect, str):
        query = redirect
    else:
        pairs = [(name, value) for name, value in _pairs_of(redirect) if value is not None]
        query = urlencode(pairs, doseq=True, errors="surrogatepass")
    if len(query) > _LONGEST_REDIRECT:
        raise RedirectError("The redirect is longer than any provider sends.", next_step=_AGAIN)
    return query


def _pairs_of(query: Any) -> Iterable[tuple[str, Any]]:
    for every in ("multi_items", "lists"):  # Starlette; Django and Werkzeug, whose items() omit repeated names
        if callable(items := getattr(query, every, None)):
            return items()  # type: ignore[no-any-return]
    if isinstance(query, Mapping):
        return query.items()
    raise ConfigError("Pass the redirect as its URL or as a mapping of its query.")
