"""What a refusing reply is taken for, by status, code and words; and where a reply stops being a refusal, or a form."""
from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from SlyAPI.errors import BadReplyError, GrantEndedError, TokenError
from SlyAPI.oauth2 import OAuth2User
from SlyAPI.oauth2.messages.token_endpoint import GRANT_AGAIN, read_token_reply, refuses_client_auth
from SlyAPI.web import Reply
from SlyAPI.web.secret_values import Secrets

NOW = 1_700_000_000.0
BEFORE = OAuth2User("old", "kept")
TOKEN = b'{"access_token": "x"}'
CLIENT = "Check id and secret"
CLIENT_CODES = ("invalid_client", "unauthorized_client")
ADDRESS = "Check token_uri"


def read(body: bytes, status: int = 200) -> OAuth2User:
    return read_token_reply(Reply(status, {}, body), now=NOW, secrets=Secrets())


def refused(status: int, told: dict[str, Any], *, refreshing: bool = False) -> TokenError:
    body = json.dumps(told).encode() if told else b""
    with pytest.raises(TokenError) as caught:
        read_token_reply(
            Reply(status, {}, body), now=NOW, previous=BEFORE if refreshing else None, secrets=Secrets()
        )
    return caught.value


@pytest.mark.parametrize("charset", ["iso-8859-1", "windows-1252", "ISO_8859-15"])
def test_a_refusal_and_a_token_are_read_in_the_encoding_that_the_reply_names(charset: str) -> None:
    headers = {"Content-Type": f"application/json;charset={charset}"}

    def reads(text: str, status: int) -> OAuth2User:
        return read_token_reply(
            Reply(status, headers, text.encode(charset)), now=NOW, previous=BEFORE, secrets=Secrets()
        )

    with pytest.raises(GrantEndedError, match="expiré"):
        reads('{"error": "invalid_grant", "error_description": "Le jeton a expiré"}', 400)
    assert reads('{"access_token": "x", "team": "Größe"}', 200).token == "x"
    with pytest.raises(BadReplyError, match="access_token"):
        reads('{"access_token": "x", "team": "Größe", "access_token": "y"}', 200)


WORDS = {"iso-8859-1": "a expiré, Größe", "euc-jp": "期限切れのトークン", "windows-1251": "срок истёк"}


@pytest.mark.parametrize("encoding", WORDS)
@pytest.mark.parametrize("form", [False, True], ids=["json", "form"])
def test_a_reply_in_an_encoding_that_it_does_not_name_loses_only_these_words(encoding: str, form: bool) -> None:
    def reads(status: int = 200, **members: str) -> OAuth2User:
        told = {**members, "note": WORDS[encoding]}
        text = "&".join(f"{name}={value}" for name, value in told.items()) if form else _json(told)
        reply = Reply(status, {}, text.encode(encoding))
        return read_token_reply(reply, now=NOW, previous=BEFORE, secrets=Secrets())

    user = reads(access_token="x", refresh_token="new")
    assert (user.token, user.refresh_token) == ("x", "new")
    with pytest.raises(GrantEndedError):
        reads(400, error="invalid_grant", error_description=WORDS[encoding])
    for name in ("access_token", "refresh_token"):
        with pytest.raises(BadReplyError, match=name):
            reads(200, **{"access_token": "x", name: f"x{WORDS[encoding]}".replace(" ", "")})


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def test_a_token_told_twice_is_found_beside_a_byte_that_is_not_utf_8() -> None:
    with pytest.raises(BadReplyError, match="two different values of access_token"):
        read(b'{"access_token": "x", "note": "\xe9", "access_token": "y"}')


@pytest.mark.parametrize("status", [300, 301, 308, 399])
def test_a_redirect_is_an_address_to_mend_even_with_a_token_in_it(status: int) -> None:
    with pytest.raises(TokenError, match="redirects elsewhere") as caught:
        read(TOKEN, status)
    assert (type(caught.value), caught.value.kind) == (TokenError, "configuration")
    assert caught.value.next_step == "Put the final address into token_uri."


@pytest.mark.parametrize("status", [200, 201, 203, 299])
def test_any_success_may_bring_a_token(status: int) -> None:
    assert read(TOKEN, status).token == "x"


@pytest.mark.parametrize("refreshing", [False, True])
@pytest.mark.parametrize(
    ("status", "told", "step"),
    [
        (401, {"error": "a_code"}, CLIENT),
        (401, {"error": "of_their_own"}, CLIENT),
        (401, {}, CLIENT),
        (400, {"error": "bad_client"}, CLIENT),
        (400, {"error": "invalid_client", "error_description": "no refresh for you"}, CLIENT),
        (400, {"error": "unauthorized_client", "error_description": "no refresh for you"}, "kind of grant"),
        (400, {"error": "invalid_request"}, "malformed"),
        (404, {"error": "gone"}, ADDRESS),
        (405, {"error": "gone"}, ADDRESS),
    ],
)
def test_a_mistake_in_the_set_up_ends_no_grant(
    status: int, told: dict[str, Any], step: str, refreshing: bool
) -> None:
    error = refused(status, told, refreshing=refreshing)
    assert (type(error), error.kind) == (TokenError, "configuration")
    assert step in error.next_step


def test_json_that_is_no_refusal_comes_from_another_address() -> None:
    error = refused(400, {"more": 1})
    assert (error.kind, ADDRESS in error.next_step) == ("configuration", True)


@pytest.mark.parametrize("error", ["a_code", "z_code"])
def test_a_code_that_is_refused_says_so_and_another_refusal_does_not(error: str) -> None:
    of_code, other = refused(400, {"error": "invalid_grant"}), refused(400, {"error": error})
    assert of_code.next_step == f"The code was used before, is too old, or is another client's. {GRANT_AGAIN}"
    assert other.next_step == GRANT_AGAIN
    assert (of_code.kind, other.kind) == ("permanent", "permanent")
    assert "refused: HTTP 400" in str(other)


def test_words_alone_refuse_a_code_but_end_no_grant() -> None:
    assert refused(400, {"message": "No."}).kind == "permanent"
    error = refused(400, {"message": "No."}, refreshing=True)
    assert (type(error), error.kind) == (TokenError, "configuration")


def test_a_code_of_an_error_is_kept_up_to_80_characters() -> None:
    assert refused(400, {"error": "e" * 80}).error == "e" * 80
    assert refused(400, {"error": "e" * 81}).error == "e" * 77 + "..."


def test_a_refresh_tokens_life_is_counted_in_seconds() -> None:
    user = read(b'{"access_token": "x", "refresh_expires_in": 60}')
    assert user.refresh_expires_at == datetime.fromtimestamp(NOW + 60, UTC)


def test_a_token_told_twice_is_found_beside_an_object_that_is_closed_before() -> None:
    with pytest.raises(BadReplyError, match="two different values of access_token"):
        read(b'{"user": {"access_token": "a"}, "access_token": "x", "access_token": "y"}')


@pytest.mark.parametrize("body", [b"access_token=x&note=\\", b'access_token=x&note="error""error"'])
def test_a_form_may_look_like_json_that_repeats_a_member(body: bytes) -> None:
    assert read(body).token == "x"


def test_a_member_that_is_repeated_in_another_spelling_is_found() -> None:
    with pytest.raises(BadReplyError):
        read(b'{"access_token": "x", "access_\\u0074oken": "y"}')


@pytest.mark.parametrize(
    ("error", "code", "description"),
    [
        ({"errorType": "first", "type": "second"}, "first", "Below."),
        ({"type": "first", "status": "second", "message": "Within."}, "first", "Within."),
        ({"resource": "Token", "field": "code", "code": "invalid"}, "Token code invalid", "Below."),
    ],
)
def test_what_is_said_within_an_error_comes_before_what_is_said_beside_it(
    error: dict[str, str], code: str, description: str
) -> None:
    found = refused(400, {"error_description": "Below.", "error": error})
    assert (found.error, found.error_description) == (code, description)


@pytest.mark.parametrize(
    "body",
    [
        b'<a href="/?a=1&access_token=x&b=2">',
        b'{"next": "/?a=1&access_token=x&b=2',
        b'["/?a=1&access_token=x&b=2',
        b"access_token=x&junk",
        b"access_token=x" + b"&a=1" * 64,
    ],
)
def test_what_holds_a_form_is_none(body: bytes) -> None:
    with pytest.raises(BadReplyError):
        read(body)


def test_a_form_has_up_to_64_fields() -> None:
    more = "".join(f"&a{number}=1" for number in range(63))
    assert read(f"access_token=x{more}".encode()).token == "x"
    with pytest.raises(BadReplyError):
        read(f"access_token=x{more}&b=1".encode())


@pytest.mark.parametrize("member", ["ok", "success"])
def test_false_alone_says_that_a_reply_with_200_is_a_refusal(member: str) -> None:
    assert refused(200, {member: False, "message": "No."}).error_description == "No."
    for value in (True, 0, None):
        assert read(json.dumps({member: value, "access_token": "x"}).encode()).token == "x"


def test_errors_are_a_refusal_only_without_a_token() -> None:
    errors = {"errors": [{"errorType": "of_their_own"}]}
    assert refused(200, errors).error == "of_their_own"
    assert read(json.dumps({**errors, "access_token": "x"}).encode()).token == "x"


@pytest.mark.parametrize("token", ["!begins-before-a-star", "~begins-after-it"])
def test_a_token_that_comes_back_as_a_scope_is_not_kept_as_one(token: str) -> None:
    answer = {"access_token": token, "scope": f"read {token} write"}
    assert read(json.dumps(answer).encode()).scopes == ["read", "write"]


OTHER_WAY: list[tuple[int, dict[str, Any], bool]] = [
    *((status, {"error": code}, True) for status in (200, 400, 401, 403, 499) for code in CLIENT_CODES),
    *((status, {"error": code}, False) for status in (500, 501, 503) for code in CLIENT_CODES),
    *((status, {"error": code}, True) for status in (401, 403) for code in ("access_denied", "of_their_own")),
    *((status, {"error": code}, False) for status in (200, 400, 404) for code in ("access_denied", "of_their_own")),
    *((status, {"error": "invalid_grant"}, False) for status in (200, 400, 401, 403)),
    *((status, {}, True) for status in (400, 401, 403)),
    *((status, {}, False) for status in (404, 429, 500)),
    (400, {"error": "invalid_request"}, True),
    (400, {"error": "Invalid_Request"}, True),
    *((status, {"error": "incorrect_client"}, status == 200) for status in (200, 404, 422)),
    (400, {"error": "of_their_own", "error_description": "Unknown client"}, True),
    (400, {"error": "invalid_request", "error_description": "The code has expired"}, False),
    (400, {"error": "invalid_request", "error_description": "redirect_uri does not match"}, False),
    (401, {"error": "of_their_own", "error_description": "code_verifier is wrong"}, False),
    (403, {"error": "of_their_own", "error_description": "Rate limit exceeded for this client"}, False),
]


@pytest.mark.parametrize(("status", "told", "other"), OTHER_WAY)
def test_a_refusal_that_names_neither_code_nor_redirect_is_an_occasion_for_the_other_way(
    status: int, told: dict[str, Any], other: bool
) -> None:
    assert refuses_client_auth(refused(status, told)) is other
