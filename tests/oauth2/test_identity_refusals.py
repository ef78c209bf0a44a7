"""What a login, a refresh, userinfo and a logout refuse: every row of the tables goes through the whole call."""
from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI.errors import IdentityError
from SlyAPI.oauth2.messages.identity import Identity, read_id_token, read_logout_token
from SlyAPI.oauth2.messages.signed_tokens import Jwt, read_jwt
from tests.support.identity_rows import (
    ALL,
    CLAIMS,
    EVENT,
    HEADERS,
    LOGOUTS,
    OF_A_LOGIN,
    OF_A_REFRESH,
    THIRD,
    TOKENS,
    USERINFO,
    Row,
)
from tests.support.issuer import NOW, Issuer, b64url, signed_in

if TYPE_CHECKING:
    from tests.conftest import Serve


async def issuing(serve: Serve, alg: str = "RS256") -> Issuer:
    issuer = Issuer(alg)
    issuer.origin = (await serve(issuer.handle)).origin
    return issuer


def named(rows: list[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])


def test_each_row_has_a_name_of_its_own_and_a_clause() -> None:
    assert len({row.name for row in ALL}) == len(ALL)
    assert all(row.clause for row in ALL)


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "ES384", "EdDSA"])
async def test_the_token_that_every_row_departs_from_is_accepted(serve: Serve, alg: str) -> None:
    issuer = await issuing(serve, alg)
    user = await signed_in(issuer, issuer.app(), max_age=60)
    assert user.identity is not None
    assert (user.identity.issuer, user.identity.subject) == (issuer.origin, "robin")


@named([*CLAIMS, *OF_A_LOGIN, *HEADERS, *TOKENS])
async def test_a_login_refuses(serve: Serve, row: Row, told_by: Callable[[BaseException], str]) -> None:
    issuer = await issuing(serve, row.alg)
    with pytest.raises(row.error) as refused:
        await signed_in(issuer, issuer.app(), row.make, **row.wishes)
    text = told_by(refused.value)
    assert issuer.access_token not in text
    assert not issuer.id_token or issuer.id_token not in text
    assert THIRD not in text


@named([*CLAIMS, *OF_A_REFRESH, *HEADERS, *TOKENS])
async def test_a_refresh_refuses_and_the_user_stays_as_it_was(serve: Serve, row: Row) -> None:
    issuer = await issuing(serve, row.alg)
    app = issuer.app()
    user = await signed_in(issuer, app)
    before = replace(user)
    app = issuer.app()  # another process: no keys are kept
    issuer.id_token = row.make(issuer, issuer.claims(None))
    with pytest.raises(row.error):
        await app.refresh(None, user, now=NOW)
    assert user == before


# their algorithm is registered on its own, and space around a body is dropped
NOT_OF_USERINFO = ("ES256-not-registered", "PS256-not-registered", "EdDSA-not-registered", "line-end")


@named([row for row in (*USERINFO, *HEADERS, *TOKENS) if row.name not in NOT_OF_USERINFO])
async def test_signed_userinfo_are_refused(serve: Serve, row: Row) -> None:
    issuer = await issuing(serve, row.alg)
    app = issuer.app()
    user = await signed_in(issuer, app)
    app = issuer.app()
    issuer.userinfo_type = "application/jwt"
    issuer.userinfo = row.make(issuer, issuer.claims(None))
    with pytest.raises(row.error):
        await app.userinfo(user, now=NOW)


@named([*LOGOUTS, *[row for row in TOKENS if row.alg == "RS256"]])
async def test_a_logout_token_is_refused(serve: Serve, row: Row) -> None:
    issuer = await issuing(serve, row.alg)
    logout = {**issuer.claims(None), "jti": "j", "sid": "s", "events": {EVENT: {}}}
    assert (await issuer.app().read_logout_token(issuer.sign(logout), now=NOW)).subject == "robin"
    with pytest.raises(row.error):
        await issuer.app().read_logout_token(row.make(issuer, logout), now=NOW)


def test_pyjwt_accepts_what_the_stand_in_signs() -> None:
    issuer = Issuer(origin="https://issuer.example")
    claims = jwt.decode(
        issuer.sign(issuer.claims()), jwt.PyJWK(issuer.keys[0]), ["RS256"], audience="client",
        options={"verify_iat": False},
    )  # fmt: skip
    assert claims["sub"] == "robin"


# --- claims of any kind ---

TEXT = st.text(st.characters(exclude_categories=[]), max_size=20)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = (
    *("iss", "sub", "aud", "azp", "exp", "iat", "nbf", "nonce", "at_hash", "auth_time"),
    *("events", "jti", "sid", "tid"),
)
CHANGES = st.dictionaries(st.sampled_from(NAMES), ANY, max_size=3)
ISSUER = Issuer(origin="https://issuer.example")
TERMS: dict[str, Any] = {"issuer": ISSUER.origin, "client_id": "client", "now": NOW}
OF_A_LOGIN_TOO: dict[str, Any] = {"nonce": "n", "access_token": ISSUER.access_token, "max_age": 60}


@given(CHANGES, st.sampled_from([None, "tid"]))
def test_whatever_an_id_token_claims_it_is_one_for_us_or_refused(changes: dict[str, Any], fills: str | None) -> None:
    token = Jwt({"alg": "RS256"}, {**ISSUER.claims("n"), **changes})
    previous = Identity(ISSUER.origin, "robin", {"nonce": "n"})
    try:
        who = read_id_token(token, **TERMS, **OF_A_LOGIN_TOO, previous=previous, template_claim=fills)
    except IdentityError:
        return
    assert (who, who.claims["nonce"]) == (previous, "n")
    assert "client" in who.claims["aud"]
    assert who.claims["exp"] > NOW - 61
    assert who.claims["iat"] < NOW + 61
    assert who.authenticated_at is not None


@given(CHANGES)
def test_whatever_a_logout_token_claims_it_is_one_for_us_or_refused(changes: dict[str, Any]) -> None:
    claims = {**ISSUER.claims(None), "jti": "j", "sid": "s", "events": {EVENT: {}}, **changes}
    try:
        logout = read_logout_token(Jwt({"alg": "RS256"}, claims), **TERMS)
    except IdentityError:
        return
    assert logout.issuer == ISSUER.origin
    assert logout.subject or logout.session_id
    assert "nonce" not in claims
    assert abs(NOW - claims["iat"]) <= 120


@given(st.dictionaries(st.text(max_size=5) | st.sampled_from(["typ", "alg"]), ANY, max_size=3), st.text() | st.binary())
def test_whatever_a_header_and_a_body_hold_they_are_refused(header: dict[str, Any], body: str | bytes) -> None:
    payload = body if isinstance(body, bytes) else body.encode()
    with pytest.raises(IdentityError):
        read_jwt(f"{b64url(json.dumps(header).encode())}.{b64url(payload)}.AAAA", ISSUER.keys, ["RS256"])
    with suppress(IdentityError):
        read_id_token(Jwt(header, {**ISSUER.claims()}), **TERMS)
