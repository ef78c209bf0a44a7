"""What a login, a refresh, userinfo and a logout refuse: every row of the tables goes through the whole call."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import jwt
import pytest

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
from tests.support.issuer import NOW, Issuer, signed_in

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
