"""Signing in and out, for any web framework: cookies in, cookies out, and each person's tokens in the store.

The rule: an issuer and a subject identify a person. A signed cookie of constant size names a session in the store. It
contains no token, and is invalid after the person has signed out, here or at the provider.
"""
from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp
from services import Service

from SlyAPI import OAuth2, OAuth2App, OAuth2User, SlyError, WebAPI
from SlyAPI.errors import BadReplyError, ConfigError, CredentialsError, CredentialsNotFoundError
from SlyAPI.oauth2 import Identity, LogoutToken
from SlyAPI.stores import StoredUser, TokenStore

log = logging.getLogger("accounts")

SESSION_SECONDS = 30 * 24 * 3600
LOGIN_SECONDS = 3600  # longer than a login may take, so that a late one gets its own error
MOST_LOGINS = 5  # tabs of one browser with a login in progress
MOST_SESSIONS = 10  # browsers in which one person may be signed in


def entry_name(issuer: str, subject: str) -> str:
    """The name of a person's entry in the store. Only both together identify a person (OpenID Connect Core §5.7)."""
    return hashlib.sha256(json.dumps([issuer, subject]).encode()).hexdigest()


def account_id(me: Any, key: str) -> str:
    """The id of the account in an API's answer. Raises `BadReplyError` where it has none: two people would be one."""
    found = me.get(key) if isinstance(me, Mapping) else None
    if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
        raise BadReplyError(f"The API does not say who signed in: {key} is neither text nor a number.")
    return str(found)


class Cookie(NamedTuple):
    """A cookie to set; 0 seconds deletes it."""

    name: str
    value: str
    seconds: int


@dataclass(frozen=True)
class Person:
    """Somebody who is signed in, and their entry in the store."""

    name: str
    entry: StoredUser
    user: OAuth2User


class SignedOut(NamedTuple):
    """Whether the provider confirmed the end of the grant, and where the person can sign out there, if known."""

    confirmed: bool
    provider_url: str


class Accounts:
    """Signing in and out. `url` is where browsers find the application, `key` signs the cookies.

    Raises `ConfigError` for a client with `dpop`.
    """

    def __init__(
        self, app: OAuth2App, service: Service, store: TokenStore, url: str, key: bytes,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        if app.dpop:
            raise ConfigError(
                "With dpop, a login contains a private key, and here logins are kept in cookies.",
                next_step="Leave dpop out of the client file, or keep logins on the server.",
            )
        self.app = app
        self.service = service
        self.store = store
        self.redirect_uri = f"{url}/callback"
        self.signed_out_uri = f"{url}/signed-out"
        self._origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        self._key = key
        self._clock = clock
        secure = url.startswith("https:")
        # a browser accepts a cookie of this name over https only, and not from another subdomain
        self._prefix = "__Host-" if secure else ""
        self.cookie_flags: dict[str, Any] = {"path": "/", "httponly": True, "secure": secure, "samesite": "Lax"}

    async def __aenter__(self) -> Self:
        # one pool of connections, without a cookie jar: cookies of the API must not go from one person to another
        self._http = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    # --- signing in ---

    def begin(self, cookies: Mapping[str, str]) -> tuple[str, list[Cookie]]:
        """The URL to redirect to, and the cookies for this browser; each tab has its own login."""
        login = self.app.begin_login(self.redirect_uri, self.service.scopes, now=self._clock())
        going_on = {name: kept["began_at"] for name in cookies if (kept := self._kept(name, cookies))}
        oldest = sorted(going_on, key=lambda name: going_on[name])[: max(0, len(going_on) - MOST_LOGINS + 1)]
        keep = Cookie(self._login_name(login.state), self._signed("login", login.to_dict()), LOGIN_SECONDS)
        return login.url, [keep, *(Cookie(name, "", 0) for name in oldest)]

    async def finish(self, cookies: Mapping[str, str], query: Mapping[str, str]) -> list[Cookie]:
        """Signs the person in, in this browser, after the redirect from the provider. Raises `SlyError`."""
        kept = self._kept(self._login_name(query.get("state", "")), cookies)
        user = await self.app.finish_login(kept, query, self._http, now=self._clock())
        auth = OAuth2(self.app, user, clock=self._clock)
        who = user.identity or await self._identity_at_api(auth)
        entry = self.store.user(entry_name(who.issuer, who.subject))
        name, session = await self._name_of(who, user), secrets.token_urlsafe(18)
        async with entry.lock():  # a refresh of this person's older tokens that is in flight saves first
            user = auth.user  # a call to the API may have refreshed them
            sessions = {**await _sessions(entry), session: who.claims.get("sid")}
            user.extra = {"name": name, "sessions": dict([*sessions.items()][-MOST_SESSIONS:])}
            await entry.save(user)
        ends = self._clock() + SESSION_SECONDS
        signed = self._signed("session", {"entry": entry.name, "session": session, "ends": ends})
        return [Cookie(f"{self._prefix}session", signed, SESSION_SECONDS), *self.forget_login(query)]

    async def _identity_at_api(self, auth: OAuth2) -> Identity:
        """Who the person is at a provider without OpenID. Raises `SlyError`."""
        me = await self._api(auth).get_json(self.service.me)
        return Identity(self.service.issuer, account_id(me, self.service.id_key), me)

    async def _name_of(self, who: Identity, user: OAuth2User) -> str:
        """What to call the person; many providers say it at their userinfo endpoint alone. Raises `SlyError`."""
        key, claims = self.service.name_key, who.claims
        if key not in claims:
            with suppress(ConfigError):  # there is no such endpoint
                claims = await self.app.userinfo(user, self._http, now=self._clock())
        return str(claims.get(key) or "Somebody")

    def forget_login(self, query: Mapping[str, str]) -> list[Cookie]:
        """The cookies to delete once a login has ended, successful or not."""
        name = self._login_name(query.get("state", ""))
        return [Cookie(name, "", 0)] if name else []

    # --- who it is ---

    async def person(self, cookies: Mapping[str, str]) -> Person | None:
        """The person who is signed in in this browser, if any."""
        told = self._read("session", cookies.get(f"{self._prefix}session", ""))
        if told is None or told["ends"] < self._clock():
            return None
        entry = self.store.user(told["entry"])
        try:
            user = await entry.load()
        except CredentialsNotFoundError:
            return None  # signed out, maybe in another browser
        extra = user.extra or {}
        return Person(extra.get("name", ""), entry, user) if told["session"] in extra.get("sessions", ()) else None

    async def person_if_known(self, cookies: Mapping[str, str]) -> Person | None:
        """The same for a page that must be shown in any case, also while the store is down."""
        with suppress(SlyError):
            return await self.person(cookies)
        return None

    def api(self, person: Person) -> WebAPI:
        """The API on behalf of this person. Due tokens are refreshed and saved."""
        return self._api(OAuth2(self.app, person.entry, clock=self._clock))

    def _api(self, auth: OAuth2) -> WebAPI:
        api = WebAPI(auth, session=self._http)
        api.base_url = self.service.api
        return api

    # --- signing out ---

    def is_from_here(self, headers: Mapping[str, str]) -> bool:
        """Whether one of our own pages sent this form: other sites must not act for the person (CSRF)."""
        told = headers.get("Sec-Fetch-Site")
        return told == "same-origin" if told is not None else headers.get("Origin") == self._origin

    async def sign_out(self, person: Person) -> SignedOut:
        """Ends the grant at the provider and deletes the tokens, and with them every session of the person here."""
        confirmed, provider_url = True, ""
        try:
            await OAuth2(self.app, person.entry, clock=self._clock).revoke(self._http)
        except SlyError:  # it is down, or has no such endpoint; the person is signed out in any case
            confirmed = False
            await person.entry.delete()
        with suppress(ConfigError):  # it has no logout endpoint
            provider_url = self.app.logout_url(person.user, self.signed_out_uri)
        return SignedOut(confirmed, provider_url)

    async def end_sessions(self, form: Mapping[str, Any]) -> int:
        """Ends the sessions that a form from the provider's server names; gives the status to answer with.

        OpenID Connect Back-Channel Logout §2.8: 200, or 400 if the token is not valid or the logout failed.
        """
        try:
            await self._end_sessions_of(str(form.get("logout_token", "")))
        except SlyError as error:
            log.warning("a logout failed: %s", error)
            return 400
        return 200

    async def _end_sessions_of(self, logout_token: str) -> None:
        logout = await self.app.read_logout_token(logout_token, self._http, now=self._clock())
        if logout.subject is None:  # it names a session alone; many people would need an index by session
            names = await self.store.names()
        else:
            names = [entry_name(logout.issuer, logout.subject)]
        for entry in map(self.store.user, names):
            async with entry.lock():
                with suppress(CredentialsError):  # nobody is signed in, or somebody else's entry cannot be read
                    await _end_sessions(entry, logout)
        self.app.finish_logout(logout, now=self._clock())

    def forget_session(self) -> list[Cookie]:
        """The cookies to delete after signing out."""
        return [Cookie(f"{self._prefix}session", "", 0)]

    # --- cookies ---

    def _login_name(self, state: str) -> str:
        found = re.match(r"[A-Za-z0-9_-]{16}", state)
        return f"{self._prefix}login-{found[0]}" if found else ""

    def _kept(self, name: str, cookies: Mapping[str, str]) -> dict[str, Any] | None:
        if not name.startswith(f"{self._prefix}login-"):
            return None
        return self._read("login", cookies.get(name, ""))

    def _signed(self, purpose: str, value: Mapping[str, Any]) -> str:
        text = base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
        return f"{text}.{self._signature(purpose, text)}"

    def _read(self, purpose: str, cookie: str) -> dict[str, Any] | None:
        """The value of a cookie that we signed for this purpose; None for any other."""
        text, _, signature = cookie.partition(".")
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), self._signature(purpose, text).encode()):
            return None
        value: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=="))
        return value

    def _signature(self, purpose: str, text: str) -> str:
        return hmac.digest(self._key, f"{purpose}.{text}".encode("utf-8", "replace"), hashlib.sha256).hex()


async def _sessions(entry: StoredUser) -> dict[str, str | None]:
    """The person's sessions here, and the provider's session id of each (`sid`), if it has one."""
    try:
        return dict(((await entry.load()).extra or {}).get("sessions", {}))
    except CredentialsNotFoundError:
        return {}


async def _end_sessions(entry: StoredUser, logout: LogoutToken) -> None:
    """Ends the person's sessions that the token names; with the last one, the tokens are deleted too."""
    user = await entry.load()
    extra = user.extra or {}
    sessions = extra.get("sessions", {})
    left = {ours: theirs for ours, theirs in sessions.items() if _goes_on(theirs, logout)}
    if user.identity is None or user.identity.issuer != logout.issuer or left == sessions:
        return
    if left:
        user.extra = {**extra, "sessions": left}
        await entry.save(user)
    else:
        await entry.delete()


def _goes_on(sid: str | None, logout: LogoutToken) -> bool:
    """Whether a session, by its id at the provider, is certainly not one that ended."""
    if logout.session_id is None:
        return False
    if sid is None:
        return logout.subject is None
    return sid != logout.session_id
