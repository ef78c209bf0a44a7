"""Client files that look right and are not: placeholders, and keys that are misspelt."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from SlyAPI import OAuth2App
from SlyAPI.errors import CredentialsError
from SlyAPI.flow.client_check import check_filled_in
from SlyAPI.oauth2.client.client_file import misspelt
from tests.support.place import failure

if TYPE_CHECKING:
    from tests.support.place import Place

CLIENT = {"id": "me", "secret": "hush-hush", "auth_uri": "https://p.example/a", "token_uri": "https://p.example/t"}
GOOGLES = {
    "client_id": "me.apps.googleusercontent.com",
    "project_id": "p",
    "auth_uri": "https://accounts.google.com/o/oauth2/auth",
    "token_uri": "https://oauth2.googleapis.com/token",
    "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
    "client_secret": "hush-hush",
    "redirect_uris": ["http://localhost"],
    "javascript_origins": ["http://localhost"],
}
RFC_7591 = {
    "client_name": "n", "client_uri": "u", "logo_uri": "l", "tos_uri": "t", "policy_uri": "p", "jwks_uri": "j",
    "contacts": [], "grant_types": [], "response_types": [], "software_id": "s", "client_id_issued_at": 1,
    "client_secret_expires_at": 0, "registration_client_uri": "u", "registration_access_token": "t",
}


def without(key: str, **more: Any) -> dict[str, Any]:
    return {name: value for name, value in CLIENT.items() if name != key} | more


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (without("secret", secert="x"), {"secert": "secret"}),
        (without("secret", Secret="x"), {"Secret": "secret"}),
        (without("secret", client_sercet="x"), {"client_sercet": "client_secret"}),
        ({**CLIENT, "redirect_url": "x"}, {"redirect_url": "redirect_uri"}),
        ({**CLIENT, "auth_parms": {}}, {"auth_parms": "auth_params"}),
        ({**CLIENT, "secert": "x"}, {}),
        ({**CLIENT, "note": "x", "my_own": 1}, {}),
        ({**CLIENT, **RFC_7591}, {}),
        (GOOGLES, {}),
    ],
    ids=str,
)
def test_a_key_near_to_one_that_is_not_there_is_taken_for_it(told: dict[str, Any], found: dict[str, str]) -> None:
    assert misspelt(told) == found


def test_a_file_without_what_it_needs_names_the_key_that_is_misspelt() -> None:
    with pytest.raises(CredentialsError) as caught:
        OAuth2App.from_json_obj(without("token_uri", token_url="https://p.example/hush"))
    assert "token_uri missing. 'token_url' is unknown, use token_uri." in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        *("YOUR_CLIENT_ID", "your-client-id", "Your client id", "<client id>", "<CLIENT_ID>", "...", "…", "xxxx"),
        *("XXX", "***", "{client_id}", "${CLIENT_ID}", "{{ id }}", "[client id]", "changeme", "change-me", "TODO"),
        *("insert_id_here", " ... "),
    ],
)
def test_what_instructions_have_for_a_value_is_no_value(value: str) -> None:
    with pytest.raises(CredentialsError) as caught:
        check_filled_in("app.json", {"id": value, "secret": "real"})
    assert "app.json is not filled in: id is a placeholder." in str(caught.value)
    with pytest.raises(CredentialsError, match="id and secret are placeholders"):
        check_filled_in("app.json", {"id": value, "secret": value})


@pytest.mark.parametrize(
    "value",
    ["me", "id", "123-abc.apps.googleusercontent.com", "yourself", "x1y2", "my-app", "example-client", "a.b", "", None],
)
def test_what_may_be_an_id_is_one(value: str | None) -> None:
    check_filled_in("app.json", {"id": value, "secret": value})


async def test_a_grant_with_placeholders_opens_no_browser(place: "Place") -> None:
    place.client(id="YOUR_CLIENT_ID")
    failure(place, await place.grants(), 3, "app.json is not filled in: id is a placeholder.")
    assert place.provider.log == []


async def test_an_oauth_1_grant_with_placeholders_asks_nobody(place: "Place") -> None:
    uris = dict.fromkeys(("request_uri", "authorize_uri", "access_uri"), "https://p.example/x")
    (place.folder / "one.json").write_text(json.dumps({"key": "<key>", "secret": "<secret>", **uris}))
    ended = await place.runs("grant", "oauth1", "one.json", "user.json")
    failure(place, ended, 3, "one.json is not filled in: key and secret are placeholders.")


async def test_a_misspelt_key_is_told_before_it_is_missed(place: "Place") -> None:
    place.client(secret=None, secert="hush-hush")
    place.user(expires_at="2099-01-02T03:04:05Z")
    ended = await place.runs("token", "app.json", "user.json")
    assert ended.code == 0
    assert "'secert'. Did you mean secret?" in ended.err
    assert "hush" not in ended.err + ended.out
