"""Every public call of the library, found by looking, with arguments made from the names of its parameters.

The rule: a call or a parameter that is not known here fails the test that asks for it, so that a new one is added.
"""
from __future__ import annotations

import inspect
import json
import pkgutil
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import SlyAPI
from SlyAPI import (
    AssertionGrant,
    ClientCredentials,
    HeaderApiKey,
    OAuth1,
    OAuth1App,
    OAuth1User,
    OAuth2,
    OAuth2App,
    OAuth2User,
    TokenExchange,
    UrlApiKey,
    WebAPI,
)
from SlyAPI.errors import ApiError, RequestTimeoutError
from SlyAPI.limits import Limits
from SlyAPI.oauth1.user import TemporaryCredentials
from SlyAPI.oauth2 import DeviceLogin, LogoutToken
from SlyAPI.oauth2.client.login import Login
from SlyAPI.oauth2.messages.jose import Sign
from SlyAPI.paging import CursorPages, LinkPages, NextUrlPages, NumberedPages, OffsetPages, Page, TokenPages
from SlyAPI.retry import Retry
from SlyAPI.stores import EncryptedStore, FileStore, Lease, MemoryStore, SqliteStore, TokenStore
from SlyAPI.web import Method, Request
from tests.support.secret_search import ACCESS, API_KEY, CLIENT_SECRET, CODE, KEPT, REFRESH, STATE

PACKAGES = ["SlyAPI", *(f"SlyAPI.{module.name}" for module in pkgutil.iter_modules(SlyAPI.__path__))]
NOW = 1_800_000_000.0
STATE_TEXT = STATE.replace(" ", "")
VERIFIER_TEXT = f"{KEPT.cores['verifier']}{'-' * 40}"


def found_calls() -> dict[str, Callable[..., Any]]:
    """`{"OAuth2App.refresh": ..., "oauth1:read_redirect": ...}`: public classes, their methods, and functions."""
    found: dict[str, Callable[..., Any]] = {}
    for package in map(import_module, PACKAGES):
        for name in getattr(package, "__all__", ()):
            value = getattr(package, name)
            if inspect.isclass(value) and not issubclass(value, BaseException):
                found[name] = value
                found |= {f"{name}.{method}": function for method, function in methods_of(value)}
            elif inspect.isfunction(value):
                found[f"{package.__name__.rpartition('.')[2]}:{name}"] = value
    return found


def methods_of(kind: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name, value in inspect.getmembers(kind, callable):
        home = str(getattr(inspect.unwrap(getattr(value, "__func__", value)), "__module__", ""))
        if not name.startswith("_") and home.startswith("SlyAPI"):
            yield name, value


@dataclass
class Place:
    """Where a call is made: the origin of a server, and a folder of its own; a client's `key` that is a callable."""

    origin: str
    folder: Path
    key: Sign | None = None

    def app(self, **more: Any) -> OAuth2App:
        app = OAuth2App("client@id", CLIENT_SECRET, f"{self.origin}/auth", f"{self.origin}/token", **more)
        app.key, app.key_alg = self.key, self.key and "ES256"
        for name in ("revoke", "device", "introspect", "register", "par"):
            setattr(app, f"{name}_uri", f"{self.origin}/{name}")
        app.registration_client_uri, app.registration_access_token = f"{self.origin}/register/c", ACCESS
        return app

    def device(self) -> DeviceLogin:
        """One that has ended, so that nobody waits for it."""
        return DeviceLogin(
            device_code=CODE,
            user_code="WDJB-MJHT",
            verification_uri=f"{self.origin}/device",
            expires_at=datetime.fromtimestamp(1, UTC),
        )

    def app1(self) -> OAuth1App:
        return OAuth1App("key", CLIENT_SECRET, *(f"{self.origin}/{name}" for name in ("request", "auth", "access")))

    def user_json(self) -> dict[str, Any]:
        return {"token": ACCESS, "refresh_token": REFRESH, "expires_at": 1, "scopes": ["a"]}

    def account_json(self) -> dict[str, Any]:
        known = {"client_email": "a@b.example", "client_id": "1", "private_key": f"-----BEGIN {CLIENT_SECRET}"}
        return {**known, "auth_uri": f"{self.origin}/a", "token_uri": f"{self.origin}/t", "private_key_id": "k"}

    def api(self) -> WebAPI:
        api = WebAPI(UrlApiKey("key", API_KEY))
        api.base_url = self.origin
        return api

    def page(self, following: Any = f"next?key={ACCESS}") -> Page:
        """One whose reply shows what was sent."""
        link = {"Link": f'<{self.origin}/next?key={ACCESS}>; rel="next"', "X-Told": ACCESS}
        body, url = {"next": following, ACCESS: ACCESS}, f"{self.origin}/?key={ACCESS}"
        return Page(body, [ACCESS], {"key": ACCESS}, link, url)

    def login(self) -> dict[str, Any]:
        redirect = "https://app.example/cb"
        return Login("", STATE_TEXT, VERIFIER_TEXT, redirect, ["a"], "client@id", None, time.time()).to_dict()

    def file(self, content: str | bytes) -> Path:
        path = self.folder / f"file-{abs(hash(content))}.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(0o600)
        return path

    def files(self) -> list[Any]:
        """Credentials files, sound and broken."""
        texts = [json.dumps(one) for one in [*self.sound_objects(), *self.wrong_objects()]]
        broken: list[str | bytes] = [texts[0][:-1], texts[1][:-9], f"{texts[1]} {ACCESS}", ACCESS, ""]
        broken.append(texts[1].encode("utf-16"))
        return [*map(self.file, texts), *map(self.file, broken), self.folder, self.folder / "missing.json"]

    def sound_objects(self) -> list[Any]:
        """What the credentials files of each kind hold."""
        return [self.app().to_dict(), self.user_json(), {"key": ACCESS, "secret": CLIENT_SECRET}, self.account_json()]

    def wrong_objects(self) -> list[Any]:
        """Objects with a secret in the place of each member, or as a member of the wrong kind."""
        wrong: list[Any] = [[ACCESS], ACCESS, None, {ACCESS: ACCESS}]
        for sound in (self.app().to_dict(), self.user_json(), self.account_json()):
            wrong += [{**sound, name: value} for name in sound for value in ([CLIENT_SECRET], f"{CLIENT_SECRET}\r\n")]
        return wrong

    def receivers(self) -> dict[str, list[Any]]:
        """Objects of each class, on which its methods are called."""
        memory = MemoryStore()
        stores: list[TokenStore] = [memory, FileStore(self.folder / "users"), SqliteStore(self.folder / "users.db")]
        encrypted = EncryptedStore(MemoryStore(), [EncryptedStore.new_key()])
        return {
            "OAuth2App": [self.app()],
            "OAuth2": [OAuth2(self.app(), OAuth2User.from_json_obj(self.user_json()))],
            "ClientCredentials": [ClientCredentials(self.app())],
            "TokenExchange": [TokenExchange(self.app(), ACCESS)],
            "AssertionGrant": [AssertionGrant(self.app(), ACCESS)],
            "DeviceLogin": [self.device()],
            "OAuth2User": [OAuth2User.from_json_obj(self.user_json())],
            "OAuth1App": [self.app1()],
            "OAuth1": [OAuth1(self.app1(), OAuth1User(ACCESS, REFRESH))],
            "WebAPI": [self.api()],
            "HeaderApiKey": [HeaderApiKey("X-Api-Key", API_KEY)],
            "UrlApiKey": [UrlApiKey("key", API_KEY)],
            "Request": [Request(Method.GET, self.origin, headers={"Authorization": f"Bearer {ACCESS}"})],
            "MemoryStore": [memory],
            "FileStore": stores[1:2],
            "SqliteStore": stores[2:],
            "EncryptedStore": [encrypted],
            "Limits": [Limits(concurrent=1, per_second=1e6, respect_headers=True)],
            "Retry": [Retry()],
            "Page": [self.page()],
            **{type(pages).__name__: [pages] for pages in PAGES},
            "Lease": [Lease(30.0)],
            "StoredUser": [store.user("alice") for store in (*stores, encrypted)],
        }


PAGES = [CursorPages("next"), TokenPages(), NextUrlPages(), LinkPages(), OffsetPages(), NumberedPages()]


def texts(secret: str) -> list[Any]:
    """A secret as it is, and as no header, form or file can hold it."""
    return [secret, f"{secret}\r\n", f"{secret}\ud800", f"{secret}\0", ""]


def arguments(place: Place) -> dict[str, list[Any]]:
    """Values by the name of the parameter; the first is a sound one."""
    user, files = OAuth2User.from_json_obj(place.user_json()), place.files()
    hidden = place.login().keys() - {"redirect_uri"}  # which is not a secret
    redirects = [urlencode({"code": CODE, "state": STATE_TEXT}), f"code={CODE}&state={STATE_TEXT}"]
    redirects += [f"code={CODE}", f"error={CODE}&state={STATE_TEXT}", CODE]
    redirects += [f"oauth_token={token}&oauth_verifier={CODE}" for token in (ACCESS, "other")] + [f"{CODE}=&=&"]
    return {
        **{name: texts(CODE) for name in ("code", "verifier", "device_code")},
        **{name: texts(CLIENT_SECRET) for name in ("secret", "private_key")},
        **{name: texts(ACCESS) for name in ("token", "refresh_token", "key")},
        **{name: texts(ACCESS) for name in ("subject", "subject_token", "actor_token", "assertion")},
        "issuer": [place.origin, f"{place.origin}/?{ACCESS}", f"javascript:{ACCESS}"],
        "device": [place.device()],
        "app": [place.app(), *files],
        "user": [user, OAuth2User(f"{ACCESS}\r\n", f"{REFRESH}\ud800"), OAuth1User(ACCESS, REFRESH), *files],
        "account": [place.account_json(), *place.wrong_objects(), *files],
        "path": [f"/things?q={ACCESS}", f"/things?q={ACCESS}\ud800", f"/things?q={ACCESS}\r\n"],
        "obj": [*place.sound_objects(), *place.wrong_objects()],
        "answer": [{"access_token": ACCESS}, {"access_token": [ACCESS]}, {"access_token": f"{ACCESS}\n"}, {ACCESS: 1}],
        "query": [*redirects, *(f"https://app.example/cb?{text}#{text}" for text in redirects)],
        "redirect": [f"https://app.example/cb?{text}" for text in redirects],
        "text": [ACCESS, None, f"{ACCESS}\ud800", "eyJhbGciOiJSUzI1NiJ9.e30.AAAA", f"a.{ACCESS}.b"],
        "proof": [None, (ACCESS, "GET", place.origin), ("eyJhbGciOiJSUzI1NiJ9.e30.AAAA", "GET", ACCESS)],
        "authorization_details": [None, [{"type": "a"}], [{"type": "a", "b": {ACCESS}}], ACCESS],
        "leeway": [30.0, -1.0],
        "response_mode": [None, "fragment"],
        "kept": [place.login(), None, *({**place.login(), name: ACCESS} for name in hidden)],
        "temporary": [TemporaryCredentials(ACCESS, REFRESH)],
        "state": texts(STATE_TEXT),
        "auth_params": [None, {"id_token_hint": ACCESS}],
        "client_assertion": [None, lambda: ACCESS, {"command": ["sh", "-c", f"exit 3; {ACCESS}"]}, {ACCESS: 1}],
        "token_params": [None, {"hint": f"{ACCESS}\ud800"}, {ACCESS: 1}, [ACCESS]],
        "params": [None, {"q": ACCESS}, {"q": f"{ACCESS}\ud800"}],
        "json": [None, {"a": ACCESS}, {"a": {1, 2}}, ACCESS],
        "data": [None, {"a": ACCESS}, f"a={ACCESS}\ud800", ACCESS.encode()],
        "headers": [None, {"X-Own": f"{ACCESS}\r\n"}, {"WWW-Authenticate": f'Bearer realm="{ACCESS}"'}],
        "returns": [int, list[int], dict[str, int], None],
        "value": [place.user_json(), {"token": [ACCESS]}, {"token": {ACCESS}}],
        "new": [place.user_json(), {"token": [ACCESS]}, {"token": {ACCESS}}],
        **{name: [None, place.user_json()] for name in ("old", "known")},
        "name": ["alice", "a\ud800", ""],
        "target": [place.folder / "target", place.folder, f"{place.folder}/\0"],
        "url": [f"postgresql://me:{API_KEY}@127.0.0.1:1/x", f"sqlite:///{place.folder}/a.db", f"no-such:{API_KEY}"],
        "keys": [[EncryptedStore.new_key()], [CLIENT_SECRET], []],
        "store": [MemoryStore()],
        "request": [Request(Method.GET, place.origin), Request(Method.GET, f"{place.origin}/?key={ACCESS}")],
        "body": [f'{{"a": "{ACCESS}"'.encode(), f'"{ACCESS}"'.encode("utf-16"), f"<{ACCESS}".encode(), b"[" * 100_000],
        "page": [place.page(), place.page([ACCESS]), place.page({ACCESS: 1}), place.page(f"http://\\{ACCESS}\ud800")],
        "argv": [["echo", ACCESS], ["sh", "-c", f"exit 3; {ACCESS}"], ["echo", f"{ACCESS}\0"], ACCESS, []],
        "failure": [RequestTimeoutError("late"), ApiError(429, ACCESS, retry_after=1.0)],
        "redirect_uri": ["https://app.example/cb", f"http://far.example/{ACCESS}", f"javascript:{ACCESS}"],
        **{name: [f"{place.origin}/a", f"javascript:{ACCESS}", f"http://far.example/{ACCESS}"] for name in URIS},
        **{name: [value] for name, value in SOUND.items()},
    }


URIS = ("auth_uri", "token_uri", "request_uri", "authorize_uri", "access_uri")
SOUND: Mapping[str, Any] = {
    "resource": "https://a.example",
    "issuers": ["https://issuer.example"],
    "logout": LogoutToken("https://issuer.example", "s", None, {"jti": "j"}),
    "client": None,
    "client_name": "Weather",
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://p.example/device",
    "expires_at": datetime.fromtimestamp(1, UTC),
    "redirect_uris": ["http://127.0.0.1"],
    "now": NOW,
    "scopes": ["a"],
    "method": "GET",
    "param_name": "key",
    "id": "client@id",
    "client_email": "a@b.example",
    "client_id": "client@id",
    "folder": "users",
    "days": 7,
    "seconds": 30.0,
    "clocks": (time.monotonic,),
    "status": 401,
    "scheme": "Bearer",
    "auth": UrlApiKey("key", API_KEY),
    "audience": "https://a.example",
    "tried": 1,
    "elapsed": 0.0,
    "items": [ACCESS],
    "before": NOW,
    "task": "tidy",
    "ahead": 300.0,
    "behind": 86400.0,
    "at_once": 4,
    "on_error": None,
    "clock": time.time,
}
"""Parameters that are needed but hold no secret; what is not needed is left out."""


@dataclass
class Call:
    """One public call, made with arguments by its parameters' names."""

    name: str
    function: Callable[..., Any]

    def variants(self, place: Place) -> Iterator[Callable[[], Any]]:
        """The call with sound arguments, then with each other value of each argument."""
        known = arguments(place)
        owner, _, method = self.name.partition(".")
        if owner != "WebAPI":  # there it is an API's, which a message names without its query
            known["path"] = place.files()
        if method == "ending":  # there it is which of a user's tokens
            known["token"] = ["access", "refresh"]
        needs_object = bool(method) and not inspect.ismethod(self.function) and not self._is_static(method)
        parameters = [*inspect.signature(self.function).parameters.values()][needs_object:]
        names = [p.name for p in parameters if p.name in known and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        required = {p.name for p in parameters if p.default is p.empty and p.kind in kinds}
        assert required <= known.keys(), f"{self.name}: add {required - known.keys()} to the arguments"
        if needs_object:
            assert owner in place.receivers(), f"{self.name}: add {owner} to the receivers"
        sound = {name: known[name][0] for name in names if name in required}
        chosen = [sound, *({**sound, name: value} for name in names for value in known[name][name in required :])]
        for given in chosen:
            for receiver in place.receivers()[owner] if needs_object else [None]:
                call = getattr(receiver, method) if needs_object else self.function
                yield lambda call=call, given=given: call(**given)  # type: ignore[misc]

    def _is_static(self, method: str) -> bool:
        owner = found_calls()[self.name.partition(".")[0]]
        return isinstance(inspect.getattr_static(owner, method), staticmethod)


async def outcome(result: Any) -> None:
    """Waits for what a call gave, whatever kind of thing it is."""
    if isinstance(result, AbstractAsyncContextManager):
        async with result as inside:
            if inside is not result:
                await outcome(inside)
    elif isinstance(result, Awaitable):
        await outcome(await result)
    elif isinstance(result, AsyncIterable):
        async for _ in result:
            pass
    elif inspect.isfunction(result):  # a source of tokens
        await outcome(result())
