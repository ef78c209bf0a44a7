"""A login in two calls: what is kept of it in the person's session, and the redirect that ends it. Pure.

The rule: of what comes back nothing is believed before it fits what was kept, and a login ends once.
"""

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Self
from urllib.parse import urlencode

from ..errors import ConfigError, LoginEndedError, RedirectError, SlyError, StateMismatchError
from ..web.masking import SecretJson
from ..web.urls import bare_url
from .authorization_code import read_redirect

LIFETIME = 600.0
"""Seconds that a person has for signing in and consenting."""

_LONGEST_REDIRECT = 1 << 15
_LONGEST_TEXT = 4096
_MOST_SCOPES = 1000
_STATE = re.compile(r"[\x21-\x7e]{1,1024}")
_VERIFIER = re.compile(r"([A-Za-z0-9._~-]{43,128})?")  # RFC 7636 §4.1; empty where PKCE is off
_AGAIN = "Begin the login again."


@dataclass(frozen=True, slots=True)
class Login:
    """One login that was begun. Send the person to `url`, keep `to_dict()` in their session, by `state` if by any name.

    `scopes` are those asked for, `issuer` the one that the redirect has to name (RFC 9207), `began_at` in epoch
    seconds. A login that was read from a session has no `url`.
    """

    url: str
    state: str
    verifier: str
    redirect_uri: str
    scopes: list[str]
    client_id: str
    issuer: str | None
    began_at: float

    def __repr__(self) -> str:
        return f"Login({bare_url(self.url)!r}, redirect_uri={bare_url(self.redirect_uri)!r}, scopes={self.scopes!r})"

    def to_dict(self) -> dict[str, Any]:
        """What to keep until the redirect, as JSON: some 400 bytes. It prints its names alone."""
        return SecretJson({name: getattr(self, name) for name in _KEPT})

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any] | None) -> Self:
        """The login of which `to_dict()` was kept; further keys are the program's own.

        Raises `StateMismatchError` for None, and `RedirectError` for what is no such thing.
        """
        sound = kept is not None and _is_sound(kept)
        told = SecretJson({name: kept[name] for name in _KEPT}) if kept is not None and sound else None
        missing = kept is None
        del kept  # so that no traceback shows it
        if missing:
            raise StateMismatchError("No login was begun in this browser, or it has ended.", next_step=_AGAIN)
        if told is None:
            raise RedirectError("What the session kept of the login is broken.", next_step=_AGAIN)
        return cls("", **{**told, "scopes": list(told["scopes"]), "began_at": float(told["began_at"])})


_KEPT = ("state", "verifier", "redirect_uri", "scopes", "client_id", "issuer", "began_at")


def _is_sound(kept: Any) -> bool:
    """Whether each member is of its kind, and none too large for what it is."""
    if not isinstance(kept, Mapping) or not all(name in kept for name in _KEPT):
        return False
    state, verifier, redirect_uri, scopes, client_id, issuer, began_at = (kept[name] for name in _KEPT)
    return (
        isinstance(state, str)
        and _STATE.fullmatch(state) is not None
        and isinstance(verifier, str)
        and _VERIFIER.fullmatch(verifier) is not None
        and all(_is_text(text) for text in (redirect_uri, client_id, "" if issuer is None else issuer))
        and isinstance(scopes, list | tuple)
        and len(scopes) <= _MOST_SCOPES
        and all(_is_text(scope) for scope in scopes)
        and isinstance(began_at, int | float)
        and not isinstance(began_at, bool)
        and 0 <= began_at < 1e12  # not true of NaN
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isprintable()


def new_state() -> str:
    """A state that nobody guesses: 192 bits."""
    return secrets.token_urlsafe(24)


class FinishedLogins:
    """The logins that ended in this process, so that one that comes again is told before the provider is asked.

    A memory of `most` logins. Across processes and restarts it is the session that forgets a login, and in the end
    the provider that takes a code once (RFC 6749 §4.1.2).
    """

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._until: dict[bytes, float] = {}  # by the state's digest, in the order in which they ended

    def ends(self, state: str, until: float, now: float) -> bool:
        """Whether this login ends now, for the first time; it is remembered `until` then."""
        key = sha256(state.encode()).digest()
        while self._until:
            oldest = next(iter(self._until))
            if len(self._until) < self._most and self._until[oldest] >= now:
                break
            del self._until[oldest]
        if key in self._until:
            return False
        self._until[key] = until
        return True


@dataclass(frozen=True, slots=True)
class Answer:
    """The code that a redirect brought, and the login that it answers."""

    code: str
    login: Login

    def __repr__(self) -> str:
        return f"Answer({self.login!r})"


def read_answer(
    kept: Login | Mapping[str, Any] | None,
    redirect: Any,
    finished: FinishedLogins,
    *,
    client_id: str,
    issuer: str | None,
    issuer_required: bool,
    lifetime: float,
    now: float,
) -> Answer | SlyError:
    """The answer to a login, or the error to raise, in which no frame holds what was given here."""
    try:
        login = kept if isinstance(kept, Login) else Login.from_dict(kept)
        query = _query_of(redirect)
        code = _code_or_error(query, login, issuer_required)
        if isinstance(code, StateMismatchError):
            raise code
        _check(login, finished, client_id, issuer, lifetime, now)
    except SlyError as error:
        return error.with_traceback(None)
    return code if isinstance(code, SlyError) else Answer(code, login)


def _code_or_error(query: str, login: Login, issuer_required: bool) -> str | RedirectError:
    try:
        return read_redirect(query, state=login.state, issuer=login.issuer, issuer_required=issuer_required)
    except RedirectError as error:
        return error.with_traceback(None)


def _check(
    login: Login, finished: FinishedLogins, client_id: str, issuer: str | None, lifetime: float, now: float
) -> None:
    """Raises `RedirectError` for a login of another client, `LoginEndedError` for one that is over."""
    if (login.client_id, login.issuer) != (client_id, issuer):
        # a login begun at one provider must not end at another, however much the two are mixed up (RFC 9700 §4.4)
        raise RedirectError("This login was begun for another client or provider.", next_step=_AGAIN)
    if not finished.ends(login.state, login.began_at + lifetime, now):
        raise LoginEndedError("This login was finished before.", next_step=_AGAIN)
    if abs(now - login.began_at) > lifetime:  # in the future: the clocks of two machines, or a forged session
        raise LoginEndedError(f"This login was begun more than {lifetime:.0f} s ago.", next_step=_AGAIN)


def _query_of(redirect: Any) -> str:
    """The redirect as text: it may be a URL, a query, or a query in any framework's mapping, repeated names kept."""
    if isinstance(redirect, str):
        query = redirect
    else:
        pairs = [(name, value) for name, value in _pairs_of(redirect) if value is not None]
        query = urlencode(pairs, doseq=True, errors="surrogatepass")
    if len(query) > _LONGEST_REDIRECT:
        raise RedirectError("The redirect is longer than any provider's.", next_step=_AGAIN)
    return query


def _pairs_of(query: Any) -> Iterable[tuple[str, Any]]:
    for every in ("multi_items", "lists"):  # Starlette; Django and Werkzeug, whose items() leave the repeated out
        if callable(items := getattr(query, every, None)):
            return items()  # type: ignore[no-any-return]
    if isinstance(query, Mapping):
        return query.items()
    raise ConfigError("The redirect is given as its URL, or as a mapping of its query.")
