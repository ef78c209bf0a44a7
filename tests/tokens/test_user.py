"""A user's JSON: what is read, what is written, and what is named as something else."""
from __future__ import annotations

import copy
import json
import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI import FileStore, OAuth2, OAuth2App
from SlyAPI.errors import BadReplyError, CredentialsError, CredentialsNotFoundError, SlyError
from SlyAPI.json_file import read_json_file, write_json_file
from SlyAPI.oauth2 import OAuth2User
from SlyAPI.tokens.user import authorization
from SlyAPI.web.secret_values import SecretJson

NOW = 1_700_000_000.0
OWN: dict[str, Any] = {
    "token": "access-1",
    "refresh_token": "refresh-1",
    "expires_at": "2030-01-02T03:04:05.678901Z",
    "token_type": "Bearer",
    "scopes": ["read", "write"],
}
EXPIRY = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

tokens = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
plain = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=20)
scope_names = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=8)
scope_lists = st.lists(scope_names, unique=True, max_size=4)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
users = st.builds(
    OAuth2User,
    token=tokens,
    refresh_token=st.none() | plain,
    expires_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    scopes=scope_lists,
    requested_scopes=st.none() | scope_lists,
    client_auth=st.sampled_from([None, "basic", "post", "none"]),
    refresh_expires_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    extra=st.none() | st.dictionaries(st.sampled_from(["note", "memo", "ä"]), json_values, min_size=1),
)


# --- our own JSON ---


def test_the_file_format_is_that_of_0_6() -> None:
    user = OAuth2User("access-1", "refresh-1", EXPIRY, "Bearer", ["read", "write"])
    assert user.to_dict() == OWN
    assert list(user.to_dict()) == ["token", "refresh_token", "expires_at", "token_type", "scopes"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"expires_at": "2030-01-02T03:04:05Z"},
        {"expires_at": "2030-01-02T03:04:05.000000Z"},
        {"expires_at": "9999-12-31T23:59:59.999999Z"},
        {"expires_at": None},
        {"refresh_token": None},
        {"refresh_token": ""},
        {"token_type": "bearer"},
        {"scopes": []},
        {"requested_scopes": ["read", "write", "delete"]},
        {"client_auth": "basic"},
        {"refresh_token": "a refresh~token!"},
        {"refresh_expires_at": "2030-02-03T04:05:06.000000Z"},
        {"identity": {"issuer": "https://p.example", "subject": "s", "claims": {}, "authenticated_at": None}},
        {"id_token": "a.b.c"},
        {"dpop_key": {"kty": "EC", "d": "s3cret"}},
        {"note": "mine", "nested": {"a": [1, None, 2.5]}},
    ],
)
def test_to_dict_gives_back_the_json_that_was_read(changes: dict[str, Any]) -> None:
    own = {**OWN, **changes}
    assert OAuth2User.from_json_obj(own).to_dict() == own


def test_a_time_that_was_changed_after_reading_is_the_one_written() -> None:
    user = OAuth2User.from_json_obj({**OWN, "expires_at": "2030-01-02T03:04:05Z"})
    for year in (2031, 2029):
        user.expires_at = datetime(year, 1, 1, tzinfo=UTC)
        assert user.to_dict()["expires_at"] == f"{year}-01-01T00:00:00.000000Z"


@given(users)
def test_a_user_is_equal_after_a_round_trip(user: OAuth2User) -> None:
    saved = json.loads(json.dumps(user.to_dict()))
    assert OAuth2User.from_json_obj(saved) == user
    assert OAuth2User.from_json_obj(saved).to_dict() == saved


def test_a_user_is_equal_after_a_round_trip_through_its_file(tmp_path: Path) -> None:
    user = OAuth2User("a", "r", EXPIRY, scopes=["s"], extra={"team": "Größe", "odd": "\ud800", "nan": [1e400]})
    write_json_file(tmp_path / "user.json", user.to_dict())
    assert OAuth2User.from_json_file(tmp_path / "user.json") == user


@pytest.mark.posix
@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2030-01-02T03:04:05.678901Z", EXPIRY),
        ("2030-01-02T03:04:05.678901", EXPIRY),
        ("2030-01-02 03:04:05.678901", EXPIRY),
        ("2030-01-02T04:04:05.678901+01:00", EXPIRY),
        ("2030-01-02t03:04:05z", EXPIRY.replace(microsecond=0)),
        (1_893_553_445, EXPIRY.replace(microsecond=0)),
        (1_893_553_445.5, EXPIRY.replace(microsecond=500_000)),
        ("1893553445", EXPIRY.replace(microsecond=0)),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_times_are_read_as_utc_in_every_time_zone(
    written: object, moment: datetime, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        user = OAuth2User.from_json_obj({**OWN, "expires_at": written})
        assert user.expires_at == moment
        assert str(user.to_dict()["expires_at"]).endswith("Z")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_naive_time_given_in_code_is_utc() -> None:
    assert OAuth2User("t", expires_at=EXPIRY.replace(tzinfo=None)).expires_at == EXPIRY


def test_an_aware_time_given_in_code_is_the_same_moment_in_utc() -> None:
    user = OAuth2User("t", expires_at=EXPIRY.astimezone(timezone(timedelta(hours=5, minutes=30))))
    assert user.expires_at == EXPIRY
    assert user.to_dict()["expires_at"] == OWN["expires_at"]


@pytest.mark.parametrize("key", [SecretJson(kty="EC", d="s3cret"), {"kty": "EC", "d": "s3cret"}])
def test_a_key_given_in_code_prints_nothing_of_itself_also_after_a_copy(key: Any) -> None:
    user = OAuth2User("t", dpop_key=key)
    for one in (user, replace(user), copy.deepcopy(user), pickle.loads(pickle.dumps(user))):
        assert one.dpop_key == {"kty": "EC", "d": "s3cret"}
        assert "s3cret" not in repr(one) + repr(one.dpop_key)


# --- a provider's token answer, kept as it came ---


def test_a_token_answer_counts_from_when_it_was_read() -> None:
    reply = {"access_token": "a", "expires_in": 3600, "token_type": "Bearer", "refresh_token": "r", "scope": "x y"}
    user = OAuth2User.from_json_obj(reply, now=NOW)
    assert user == OAuth2User("a", "r", datetime.fromtimestamp(NOW + 3600, UTC), "Bearer", ["x", "y"])


@pytest.mark.parametrize("created", [{}, {"created_at": NOW + 50}], ids=["file's time", "its own time"])
async def test_a_token_answer_in_a_file_counts_from_its_time(tmp_path: Path, created: dict[str, Any]) -> None:
    path = tmp_path / "robin.json"
    path.write_text(json.dumps({"access_token": "a", "expires_in": 3600, "refresh_token": "r", **created}))
    path.chmod(0o600)
    os.utime(path, (NOW, NOW))
    ends = datetime.fromtimestamp(NOW + (50 if created else 0) + 3600, UTC)
    entry = FileStore(tmp_path).user("robin")
    auth = OAuth2(OAuth2App("c", None, "", "http://127.0.0.1:9/token", scopes=[]), path)
    assert OAuth2User.from_json_file(path).expires_at == ends
    assert (await entry.load()).expires_at == ends
    with suppress(SlyError):
        await auth.refresh_now()  # nobody answers there
    assert auth.user.expires_at == ends


def test_a_token_answer_with_created_at_counts_from_then() -> None:
    reply = {"access_token": "a", "expires_in": "3600", "token_type": "Bearer", "created_at": 1_600_000_000}
    assert OAuth2User.from_json_obj(reply, now=NOW).expires_at == datetime.fromtimestamp(1_600_003_600, UTC)


def test_a_token_answer_with_created_at_and_no_expires_in_never_expires() -> None:
    reply = {"access_token": "a", "token_type": "Bearer", "scope": "read", "created_at": 1573979017}
    assert OAuth2User.from_json_obj(reply).expires_at is None


@pytest.mark.parametrize("name", ["refresh_expires_in", "refresh_token_expires_in", "x_refresh_token_expires_in"])
def test_the_end_of_a_refresh_token_is_kept_where_the_provider_reports_it(name: str) -> None:
    user = OAuth2User.from_token_answer({"access_token": "a", "refresh_token": "r", name: "60"}, now=NOW)
    assert user.refresh_expires_at == datetime.fromtimestamp(NOW + 60, UTC)
    assert OAuth2User.from_json_obj(user.to_dict()) == user


@pytest.mark.parametrize(
    ("reply", "end"),
    [
        ({}, EXPIRY),
        ({"refresh_token": ""}, EXPIRY),
        ({"refresh_token": "r"}, EXPIRY),
        ({"refresh_token": "new"}, None),
        ({"refresh_expires_in": 60}, datetime.fromtimestamp(NOW + 60, UTC)),
        ({"refresh_token": "new", "refresh_expires_in": 60}, datetime.fromtimestamp(NOW + 60, UTC)),
    ],
)
def test_a_refresh_token_that_stays_keeps_its_end(reply: dict[str, object], end: datetime | None) -> None:
    before = OAuth2User("old", "r", refresh_expires_at=EXPIRY)
    user = OAuth2User.from_token_answer({"access_token": "a", **reply}, now=NOW, previous=before)
    assert user.refresh_expires_at == end


def test_a_grant_of_all_that_was_asked_for_notes_no_request() -> None:
    reply = {"access_token": "a", "scope": "write read"}
    assert OAuth2User.from_token_answer(reply, now=NOW, requested=["read", "write"]).requested_scopes is None
    assert OAuth2User.from_token_answer(reply, now=NOW, requested=["admin"]).requested_scopes == ["admin"]


@pytest.mark.parametrize(("scheme", "applies"), [("N_A", False), ("n_a", False), ("bearer", True), (None, True)])
def test_only_a_token_that_is_said_not_to_be_for_a_header_is_not_for_a_header(scheme: Any, applies: bool) -> None:
    """RFC 8693 §2.2.1."""
    answer = {"access_token": "a", "token_type": scheme, "issued_token_type": "urn:one"}
    assert OAuth2User.from_token_answer(answer, now=NOW).token_type == ("Bearer" if applies else "N_A")


@pytest.mark.parametrize("scheme", ["mac", "pop", "n_a"])
def test_any_other_scheme_is_refused_though_an_exchange_may_have_issued_it(scheme: str) -> None:
    issued = {"issued_token_type": "urn:one"} if scheme != "n_a" else {}
    with pytest.raises(BadReplyError, match="which SlyAPI does not support"):
        OAuth2User.from_token_answer({"access_token": "a", "token_type": scheme, **issued}, now=NOW)


@pytest.mark.parametrize("scheme", ["Bearer", "mac", "pop", None])
def test_a_request_with_a_proof_brings_a_token_that_is_bound_or_an_error(scheme: str | None) -> None:
    answer = {"access_token": "a", "token_type": scheme}
    with pytest.raises(BadReplyError, match="not bound"):
        OAuth2User.from_token_answer(answer, now=NOW, dpop_key=SecretJson(kty="EC"))


def test_the_life_of_a_refresh_token_in_a_stored_reply_is_in_seconds() -> None:
    user = OAuth2User.from_json_obj({"access_token": "a", "refresh_token": "r", "refresh_expires_in": 60}, now=NOW)
    assert user.refresh_expires_at == datetime.fromtimestamp(NOW + 60, UTC)


def test_a_token_file_of_google_auth_is_read_where_it_is_asked_for() -> None:
    saved = {"token": "t", "refresh_token": "r", "token_uri": "https://p.example/t", "client_id": "i", "scopes": ["a"]}
    user = OAuth2User.from_google_auth(saved | {"expiry": OWN["expires_at"]})
    assert user == OAuth2User("t", "r", EXPIRY, scopes=["a"])
    for other in (OWN, {"expiry": OWN["expires_at"], "token_uri": "https://p.example/t", "client_id": "i"}):
        with pytest.raises(CredentialsError, match="not a token file of google-auth"):
            OAuth2User.from_google_auth(other)


# --- something else ---

CLIENT = {"id": "i", "secret": "s3cret", "auth_uri": "https://p.example/a", "token_uri": "https://p.example/t"}
OTHERS: list[tuple[object, str]] = [
    (CLIENT, "a client file"),
    ({"client_id": "i", "client_secret": "s3cret", "redirect_uris": []}, "a client file"),
    ({"installed": {"client_id": "i", "client_secret": "s3cret"}}, "Google's client file"),
    ({"web": {"client_id": "i", "client_secret": "s3cret"}}, "Google's client file"),
    ({"type": "service_account", "private_key": "s3cret", "client_id": "1"}, "a Google service-account key"),
    ({"token": "s3cret", "refresh_token": "r", "expiry": "2030-01-01T00:00:00Z"}, "a token file of google-auth"),
    ({"token": "s3cret", "token_uri": "https://p.example/t", "client_id": "i"}, "a token file of google-auth"),
    ({"type": "authorized_user", "client_secret": "s3cret"}, "gcloud's application-default credentials"),
    ({"key": "k", "secret": "s3cret"}, "an OAuth 1 user file"),
    ({"key": "k", "secret": "s3cret", "screen_name": "me"}, "an OAuth 1 user file"),
    ({"expires_at": OWN["expires_at"]}, "a JSON object with other keys"),
    ({"openapi": "3.0.0", "paths": {}}, "an API description"),
    ({"s3cret": 1}, "a JSON object with other keys"),
    ({}, "an empty JSON object"),
    ([{"token": "s3cret"}], "an array"),
    ("s3cret", "a string"),
    ("", "empty"),
    (5, "a number"),
    (True, "a boolean"),
    (None, "null"),
    ({**OWN, "token": 5}, "token is a number"),
    ({**OWN, "token": ""}, "token is empty"),
    ({**OWN, "token": None}, "token is missing"),
    ({**OWN, "token": "s3cret\r\nX: y"}, "header may not carry"),
    ({**OWN, "token": "s3cret token"}, "header may not carry"),
    ({**OWN, "token": "s3cr\u00e9t"}, "header may not carry"),
    ({**OWN, "token": "s3cret\x7f"}, "header may not carry"),
    ({**OWN, "refresh_token": ["s3cret"]}, "refresh_token is not a token"),
    ({**OWN, "refresh_token": "s3cret\n"}, "refresh_token is not a token"),
    ({**OWN, "refresh_token": "s3crét"}, "refresh_token is not a token"),
    ({**OWN, "expires_at": "tomorrow, s3cret"}, "neither ISO 8601"),
    ({**OWN, "expires_at": ["s3cret"]}, "neither ISO 8601"),
    ({**OWN, "expires_at": True}, "neither ISO 8601"),
    ({**OWN, "expires_at": "0001-01-01T00:00:00+14:00"}, "neither ISO 8601"),
    ({**OWN, "token_type": 5}, "token_type"),
    ({**OWN, "token_type": "Bearer s3cret"}, "token_type"),
    ({**OWN, "scopes": 5}, "scopes"),
    ({**OWN, "scopes": {"s3cret": 1}}, "scopes"),
    ({**OWN, "scopes": ["a", {"s3cret": 1}]}, "scope"),
    ({**OWN, "requested_scopes": 5}, "requested_scopes"),
    ({**OWN, "client_auth": "tls"}, "client_auth"),
    ({**OWN, "identity": "s3cret"}, "identity is a string"),
    ({**OWN, "identity": {"issuer": "s3cret", "subject": "s", "claims": None}}, "lacks issuer, subject or claims"),
    ({**OWN, "identity": {"issuer": "", "subject": "s3cret", "claims": {}}}, "lacks issuer, subject or claims"),
    ({**OWN, "identity": {"issuer": "s3cret", "subject": 1, "claims": {}}}, "lacks issuer, subject or claims"),
    ({**OWN, "id_token": ["s3cret"]}, "id_token is an array"),
    ({**OWN, "dpop_key": "s3cret"}, "dpop_key is not a JWK"),
    ({**OWN, "dpop_key": {"d": "s3cret"}}, "dpop_key is not a JWK"),
    ({"access_token": "s3cret", "token_type": "mac"}, "'mac'"),
    ({"access_token": {"s3cret": 1}}, "access_token is an object"),
]


@pytest.mark.parametrize(("other", "said"), OTHERS)
def test_what_is_not_a_user_is_named_for_what_it_is(
    other: object, said: str, told_by: Callable[[BaseException], str]
) -> None:
    with pytest.raises(CredentialsError) as caught:
        OAuth2User.from_json_obj(other, "me.json")
    assert str(caught.value).startswith("me.json ")
    assert said in str(caught.value)
    assert "s3cret" not in told_by(caught.value), "nothing of the content is printed"
    assert isinstance(caught.value, ValueError), "as SlyAPI 0.6 raised"


@given(json_values | st.dictionaries(st.sampled_from([*OWN, "access_token", "expires_in", "created_at"]), json_values))
def test_any_json_is_a_user_or_our_error(reply: object) -> None:
    with suppress(CredentialsError):
        user = OAuth2User.from_json_obj(reply, now=NOW)
        assert OAuth2User.from_json_obj(user.to_dict()) == user


def test_a_missing_file_is_a_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(CredentialsNotFoundError) as caught:
        OAuth2User.from_json_file(tmp_path / "user.json")
    assert isinstance(caught.value, FileNotFoundError)
    assert "user.json does not exist" in str(caught.value)


def test_a_file_is_named_in_the_message(tmp_path: Path) -> None:
    write_json_file(tmp_path / "app.json", CLIENT)
    with pytest.raises(CredentialsError, match=r"app\.json.*client file"):
        OAuth2User.from_json_file(tmp_path / "app.json")
    assert read_json_file(tmp_path / "app.json") == CLIENT


# --- what is seen of a user ---


@given(users)
def test_a_user_prints_no_secret(user: OAuth2User) -> None:
    user.token, user.refresh_token = "access-s3cret", "refresh-s3cret"
    user.extra = {"id_token": "id-s3cret"}
    assert "s3cret" not in f"{user} {user!r} {[user]}"


def test_a_user_shows_whether_it_can_be_refreshed() -> None:
    assert "refresh_token='***'" in repr(OAuth2User("a", "r"))
    assert "refresh_token=None" in repr(OAuth2User("a"))


def test_a_misspelt_attribute_is_an_error() -> None:
    with pytest.raises(AttributeError):
        OAuth2User("a").refreshtoken = "r"  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def test_missing_scopes_are_those_asked_for_and_not_granted() -> None:
    user = OAuth2User("t", scopes=["a", "c"], requested_scopes=["a", "b", "c", "d"])
    assert user.missing_scopes == ["b", "d"]
    assert OAuth2User("t", scopes=["a"]).missing_scopes == []


def test_a_list_of_scopes_is_the_users_own_and_may_be_changed() -> None:
    one, other = (OAuth2User.from_json_obj({"token": "t", "scopes": ["a"]}) for _ in range(2))
    one.scopes.append("b")
    assert one.scopes == one.to_dict()["scopes"] == ["a", "b"]
    assert "'b'" in repr(one)
    assert other.scopes == ["a"]
    one.scopes = ["c"]
    assert (one.scopes, one == other) == (["c"], False)


def test_two_users_share_no_list_of_scopes() -> None:
    OAuth2User("t").scopes.append("a")
    assert OAuth2User("t").scopes == []


# --- many users ---


def test_each_user_has_a_list_of_scopes_of_its_own() -> None:
    one, other = (OAuth2User.from_json_obj(json.loads(json.dumps(OWN))) for _ in range(2))
    one.scopes.append("admin")
    assert (one.scopes, other.scopes) == (["read", "write", "admin"], ["read", "write"])
    assert one != other
    assert one.to_dict()["scopes"] == ["read", "write", "admin"]


def test_a_user_is_a_dataclass_to_every_function_that_takes_one() -> None:
    names = ["token", "refresh_token", "expires_at", "token_type", "scopes", "requested_scopes", "client_auth"]
    assert [member.name for member in fields(OAuth2User)][:7] == names == list(OAuth2User.__match_args__)[:7]
    match OAuth2User("a", "r"):
        case OAuth2User(token, refresh_token=refresh_token):
            assert (token, refresh_token) == ("a", "r")


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda user: pickle.loads(pickle.dumps(user)), replace])
def test_a_copy_of_a_user_is_the_same_user(again: Callable[[OAuth2User], OAuth2User]) -> None:
    user = OAuth2User.from_json_obj(OWN | {"expires_at": "2030-01-02T03:04:05Z", "more": 1})
    other = again(user)
    assert other == user
    assert other.to_dict() == user.to_dict()
    assert asdict(other)["scopes"] == ["read", "write"]


def test_the_members_of_a_user_are_read_as_a_user_as_in_0_6() -> None:
    user = OAuth2User.from_json_obj(OWN | {"more": 1, "client_auth": "basic"})
    assert OAuth2User.from_json_obj(asdict(user)) == user
    naive = asdict(user) | {"expires_at": EXPIRY.replace(tzinfo=None)}
    assert OAuth2User.from_json_obj(naive) == user


@pytest.mark.parametrize(("given", "kept"), [("read write", ["read", "write"]), (("a", "b"), ["a", "b"]), (None, [])])
def test_scopes_given_in_code_may_be_written_in_any_form(given: Any, kept: list[str]) -> None:
    assert OAuth2User("token", scopes=given).scopes == kept


# --- what is sent, and what an exchange and a bound token add ---


@pytest.mark.parametrize(
    ("scheme", "sent"),
    [("Bearer", "Bearer"), ("bearer", "Bearer"), ("BEARER", "Bearer"), ("DPoP", "DPoP"), ("a", "a"), ("z", "z")],
)
def test_the_scheme_of_a_token_is_sent_as_it_is_and_bearer_with_a_capital(scheme: str, sent: str) -> None:
    assert authorization(OAuth2User("abc", token_type=scheme)) == f"{sent} abc"


def test_what_an_exchange_issued_is_kept_and_a_refresh_does_not_change_it() -> None:
    answer = {"access_token": "a", "issued_token_type": "urn:one"}
    user = OAuth2User.from_token_answer(answer, now=NOW)
    assert user.issued_token_type == "urn:one"
    again = OAuth2User.from_token_answer(answer | {"issued_token_type": "urn:two"}, now=NOW, previous=user)
    assert again.issued_token_type == "urn:one"
    assert OAuth2User("a").issued_token_type is None
    assert OAuth2User.from_token_answer(answer | {"issued_token_type": 5}, now=NOW).extra is None
    assert OAuth2User("a", extra={"issued_token_type": 5}).issued_token_type is None


def test_a_token_is_bound_to_the_key_of_the_proof_and_without_a_proof_to_none() -> None:
    key = SecretJson(kty="EC", d="s3cret")
    answer = {"access_token": "a", "token_type": "DPoP"}
    assert OAuth2User.from_token_answer(answer, now=NOW, dpop_key=key).dpop_key == key
    assert OAuth2User.from_token_answer({"access_token": "a"}, now=NOW).dpop_key is None


def test_two_spellings_of_one_moment_are_equal() -> None:
    one, other = (OAuth2User.from_json_obj(OWN | {"expires_at": at}) for at in (NOW, "2023-11-14T22:13:20Z"))
    assert one == other
    assert one.to_dict() != other.to_dict()


READERS: list[Callable[[Any], OAuth2User]] = [OAuth2User.from_json_obj, OAuth2User.from_google_auth]


@pytest.mark.parametrize("read", READERS, ids=["ours", "google-auth"])
def test_a_refused_user_is_in_no_frame_of_the_traceback(
    read: Callable[[Any], OAuth2User], told_by: Callable[[BaseException], str]
) -> None:
    with pytest.raises(CredentialsError) as caught:
        read({"token": "s3cret", "refresh_token": ["s3cret"], "expiry": "s3cret", "scopes": 5})
    assert "s3cret" not in told_by(caught.value)


def test_a_refused_file_is_in_no_frame_of_the_traceback(
    tmp_path: Path, told_by: Callable[[BaseException], str]
) -> None:
    write_json_file(tmp_path / "user.json", {"token": "s3cret", "scopes": 5})
    with pytest.raises(CredentialsError) as caught:
        OAuth2User.from_json_file(tmp_path / "user.json")
    assert "s3cret" not in told_by(caught.value)
