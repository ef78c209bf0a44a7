"""A refresh whose id_token or access token is refused: the grant survives, and nothing of that token is believed."""

from __future__ import annotations

import base64
import copy
import json
import pickle
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from SlyAPI import OAuth2, OAuth2User
from SlyAPI.errors import BadReplyError, IdentityError, SaveError
from SlyAPI.stores import MemoryStore
from tests.support.identity_rows import CLAIMS, HEADERS, OF_A_REFRESH, TOKENS, Row
from tests.support.issuer import NOW, Issuer, signed_in
from tests.support.refreshing import OLD, REFRESH, Place

if TYPE_CHECKING:
    from tests.conftest import Serve

ROWS = [*CLAIMS, *OF_A_REFRESH, *HEADERS, *TOKENS]


class Strict(Issuer):
    """Rotates each refresh token, and ends the grant when one comes back."""

    rotations = 0
    ended = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        if request.path != "/token" or form.get("grant_type") != "refresh_token":
            return await super().handle(request)
        self.seen.append(dict(form))
        self.ended = self.ended or form["refresh_token"] != self.current
        if self.ended:
            return web.json_response({"error": "invalid_grant"}, status=400)
        self.rotations += 1
        reply = {"access_token": self.access_token, "refresh_token": self.current, "expires_in": 100}
        return web.json_response({**reply, "id_token": self.id_token})

    @property
    def current(self) -> str:
        return f"refresh-{self.rotations}"


async def strict(serve: Serve, alg: str = "RS256") -> tuple[Strict, OAuth2User]:
    issuer = Strict(alg)
    issuer.origin = (await serve(issuer.handle)).origin
    user = await signed_in(issuer, issuer.app())
    user.refresh_token = issuer.current
    issuer.access_token = "another-access-token"
    return issuer, user


def names_another(issuer: Strict) -> bool:
    """Whether the id_token, as far as it can be read, is of another person, issuer or client."""
    try:
        claims = json.loads(base64.urlsafe_b64decode((issuer.id_token or "").split(".")[1] + "=="))
    except (ValueError, IndexError, RecursionError):
        return False
    if not isinstance(claims, dict):
        return False
    audience = claims.get("aud")
    ours = audience == "client" or (isinstance(audience, list) and "client" in audience)
    return (claims.get("iss"), claims.get("sub")) != (issuer.origin, "robin") or not ours


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
async def test_a_refused_id_token_of_the_same_person_costs_no_grant_and_is_not_believed(
    serve: Serve, row: Row
) -> None:
    issuer, user = await strict(serve, row.alg)
    published, store = issuer.keys, MemoryStore()
    await store.save("robin", user.to_dict())
    before = await store.load("robin")
    issuer.id_token = row.make(issuer, issuer.claims(None))
    auth = OAuth2(issuer.app(), store.user("robin"), clock=lambda: NOW + 99)
    for _ in range(3):
        with pytest.raises(row.error):
            await auth.refresh_now()
    assert issuer.rotations == 1, "it is remembered, so that nobody asks without end"
    if names_another(issuer):
        assert await store.load("robin") == before
        return
    kept = await store.load("robin")
    assert kept == {**before, "refresh_token": issuer.current}, "nothing else of the reply"
    issuer.keys, issuer.id_token = published, issuer.sign(issuer.claims(None))
    elsewhere = MemoryStore()  # another process has learned nothing
    await elsewhere.save("robin", kept)
    fresh = await OAuth2(issuer.app(), elsewhere.user("robin"), clock=lambda: NOW + 99).refresh_now()
    assert (fresh.token, fresh.identity) == ("another-access-token", user.identity)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
async def test_the_error_takes_no_token_along_to_another_process(serve: Serve, row: Row) -> None:
    """As where a job queue keeps the error of a job."""
    issuer, user = await strict(serve, row.alg)
    issuer.id_token = row.make(issuer, issuer.claims(None))
    with pytest.raises(row.error) as caught:
        await issuer.app().refresh(None, user, now=NOW + 99)
    for error in (caught.value, copy.copy(caught.value)):
        sent = pickle.dumps(error)
        for token in (user.token, user.refresh_token, issuer.access_token, issuer.current):
            assert str(token).encode() not in sent


async def test_a_program_that_keeps_its_users_itself_is_given_the_new_refresh_token(serve: Serve) -> None:
    issuer, user = await strict(serve)
    issuer.id_token = issuer.sign(issuer.claims(None), {"kid": "published-too-late"})
    kept: list[OAuth2User] = []
    auth = OAuth2(issuer.app(), user, kept.append, clock=lambda: NOW + 99)
    with pytest.raises(IdentityError):
        await auth.refresh_now()
    assert [(one.token, one.refresh_token) for one in kept] == [(user.token, issuer.current)]
    assert auth.user == kept[0]


async def test_a_store_that_refuses_for_a_moment_gets_the_new_refresh_token_later(serve: Serve) -> None:
    class Full(MemoryStore):
        refusals = 0

        async def replace(self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
            self.refusals += old != new
            if old != new and self.refusals < 3:
                raise SaveError("The disk is full.")
            await super().replace(name, old, new)

    issuer, user = await strict(serve)
    store = Full()
    await store.save("robin", user.to_dict())
    issuer.id_token = issuer.sign(issuer.claims(None), {"kid": "published-too-late"})
    auth = OAuth2(issuer.app(), store.user("robin"), clock=lambda: NOW + 99)
    with pytest.raises(IdentityError):
        await auth.refresh_now()
    await auth.wait_for_refresh()
    assert (await store.user("robin").load()).refresh_token == issuer.current


# A reply without an access token that can be used.

UNUSABLE: list[dict[str, Any]] = [
    {"access_token": None},
    {"access_token": ""},
    {"access_token": "two words"},
    {"access_token": ["new-token-1"]},
    {"token_type": "mac"},
]
TWICE: list[dict[str, Any]] = [{"access_token": "another"}, {"token_type": "mac"}, {"id_token": "another"}]
"""Members that the reply has once more, with another value."""


def repeating(place: Place, more: dict[str, Any]) -> web.Response:
    usual = place.tokens(1, id_token="one").text or ""
    return web.Response(text=f"{usual[:-1]}, {json.dumps(more)[1:]}", content_type="application/json")


ODD: dict[str, Callable[[Place], web.Response]] = {
    **{str(reply): partial(Place.tokens, number=1, **reply) for reply in UNUSABLE},
    **{f"twice: {more}": partial(repeating, more=more) for more in TWICE},
}


@pytest.mark.parametrize("reply", ODD)
@pytest.mark.parametrize("due_in", [-1.0, 5.0], ids=["expired", "due"])
async def test_a_reply_without_a_usable_access_token_costs_no_grant(
    place: Place, reply: str, due_in: float
) -> None:
    """The refresh token that was sent is used up."""
    store = MemoryStore()
    await store.user("alice").save(place.user(due_in))
    api = place.api(store.user("alice"), leeway=60.0)
    place.answers = [lambda: ODD[reply](place)]
    if due_in > 0:
        await api.get_json("/")
        place.clock.now += 4.8  # due, and still valid
    for _ in range(3):
        with pytest.raises(BadReplyError) if due_in < 0 else suppress(BadReplyError):
            await api.get_json("/")
    assert [form["refresh_token"] for form in place.forms] == [REFRESH], "it is remembered for a while"
    kept = await store.user("alice").load()
    assert (kept.token, kept.refresh_token) == (OLD, "refresh-token-1")
    elsewhere = MemoryStore()  # another process has learned nothing
    await elsewhere.user("alice").save(kept)
    place.clock.now += 10
    await place.api(elsewhere.user("alice")).get_json("/")
    assert place.forms[-1]["refresh_token"] == "refresh-token-1"
    assert place.sent[-1] == "new-token-2"


async def test_a_reply_with_no_new_refresh_token_either_leaves_the_old_one(place: Place) -> None:
    store = MemoryStore()
    await store.user("alice").save(place.user())
    place.answers = [lambda: place.tokens(1, access_token=None, refresh_token="two\nlines")]
    with pytest.raises(BadReplyError):
        await place.api(store.user("alice")).get_json("/")
    assert (await store.user("alice").load()).refresh_token == REFRESH


@pytest.mark.parametrize("reply", ["good", *ODD])
async def test_nothing_is_kept_of_a_reply_for_another_account(place: Place, reply: str) -> None:
    def for_another() -> web.Response:
        response = ODD[reply](place) if reply != "good" else place.tokens(1)
        response.text = f'{{"sub": "mallory", {(response.text or "")[1:]}'
        return response

    store, user = MemoryStore(), place.user()
    user.extra = {"sub": "alice"}
    await store.user("alice").save(user)
    place.answers = [for_another]
    with pytest.raises(IdentityError):
        await place.api(store.user("alice")).get_json("/")
    assert (await store.user("alice").load()).refresh_token == REFRESH


async def test_of_two_new_refresh_tokens_neither_is_kept(place: Place) -> None:
    store = MemoryStore()
    await store.user("alice").save(place.user())
    place.answers = [lambda: repeating(place, {"refresh_token": "another"})]
    with pytest.raises(BadReplyError):
        await place.api(store.user("alice")).get_json("/")
    assert (await store.user("alice").load()).refresh_token == REFRESH
