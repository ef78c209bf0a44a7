"""The authorization code grant: the URL that is sent, and the redirect that comes back."""
from __future__ import annotations

from contextlib import suppress
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI.errors import ConfigError, DeniedError, RedirectError, SlyError, StateMismatchError
from SlyAPI.oauth2.messages.authorization_code import (
    authorization_url,
    exchange_form,
    new_verifier,
    read_redirect,
    s256_challenge,
)

ISSUER = "https://provider.example"
SCOPE_UNENCODED = "scope=openid%20https://www.googleapis.com/auth/drive?x"  # Google leaves `:` and `/` as they are


def url_of(auth_uri: str, **extras: str | None) -> list[tuple[str, str]]:
    url = authorization_url(
        auth_uri,
        client_id="s6BhdRkqt3",
        redirect_uri="https://client.example.com/cb",
        state="xyz",
        scope="",
        challenge="",
        extras=extras,
    )
    return parse_qsl(urlsplit(url).query, keep_blank_values=True)


# --- the request ---


def test_the_request_is_that_of_rfc_6749_section_4_1_1() -> None:
    assert url_of("https://server.example.com/authorize") == [
        ("response_type", "code"),
        ("client_id", "s6BhdRkqt3"),
        ("redirect_uri", "https://client.example.com/cb"),
        ("state", "xyz"),
    ]


def test_a_query_of_the_endpoint_is_kept_and_a_parameter_of_ours_is_never_twice() -> None:
    told = url_of("https://p.example/a?tenant=1&flag=&state=theirs&response_type=token", prompt="consent")
    assert told[:2] == [("tenant", "1"), ("flag", "")]
    assert dict(told)["response_type"] == "code"
    assert dict(told)["state"] == "xyz"
    assert len({name for name, _ in told}) == len(told)


def test_an_extra_replaces_the_endpoints_and_none_takes_it_out() -> None:
    told = dict(url_of("https://p.example/a?prompt=login&hd=x", prompt="consent", hd=None))
    assert told["prompt"] == "consent"
    assert "hd" not in told


def test_text_that_no_url_can_carry_is_refused() -> None:
    with pytest.raises(ConfigError, match="surrogate"):
        url_of("https://p.example/a", login_hint="robin\ud800")


@pytest.mark.parametrize("name", ["response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge"])
@pytest.mark.parametrize("value", ["x", None])
def test_an_extra_may_not_override_the_protocol(name: str, value: str | None) -> None:
    with pytest.raises(ConfigError, match=name):
        url_of("https://p.example/a", **{name: value})


def test_the_exchange_sends_neither_scope_nor_an_empty_verifier() -> None:
    assert exchange_form("c", "", "r") == {"grant_type": "authorization_code", "code": "c", "redirect_uri": "r"}
    assert exchange_form("c", "v", "r")["code_verifier"] == "v"


# --- the redirect ---


@pytest.mark.parametrize(
    "redirect",
    [
        "code=c%2F1&state=s",
        "?code=c%2F1&state=s",
        "state=s&code=c/1",
        f"state=s&code=c/1&{SCOPE_UNENCODED}",
        f"{SCOPE_UNENCODED}&state=s&code=c/1",
        "state=s&iss=https://provider.example&code=c/1",
        "http://localhost:8080/?code=c%2F1&state=s",
        "http://localhost:8080?code=c%2F1&state=s",
        f"http://localhost:8080/cb?state=s&code=c/1&{SCOPE_UNENCODED}",
        "https://client.example/a=b/cb?code=c%2F1&state=s",
        "com.example.app:/cb?code=c%2F1&state=s",
        "/cb?code=c%2F1&state=s",
        "localhost:8080/cb?code=c%2F1&state=s",
        "127.0.0.1:8080/?code=c%2F1&state=s",
        "http://[::1]:8080/?code=c%2F1&state=s",
        "  http://localhost:8080/?code=c%2F1&state=s#_=_ \n",
        "code=c%2F1&state=s&empty=&session_state=a&session_state=b",
    ],
)
def test_the_code_is_read_from_the_query_or_the_whole_address(redirect: str) -> None:
    assert read_redirect(redirect, state="s") == "c/1"


@pytest.mark.parametrize(
    "redirect",
    [
        "",
        "code=c",
        "code=c&state=",
        "code=c&state=S",
        "code=c&state=ss",
        "error=access_denied",
        "error=access_denied&state=other",
        "http://localhost:8080/",
        "http://[/?code=c",
        "http://ⅷ.example℀/?code=c",
        "code=c&state=\udc80",
        "&".join(f"a{number}=" for number in range(500)) + "&state=s&code=c",
    ],
)
def test_without_our_state_nothing_is_believed(redirect: str) -> None:
    with pytest.raises(StateMismatchError):
        read_redirect(redirect, state="s")


def test_an_empty_state_of_ours_matches_nothing() -> None:
    for redirect in ("code=c", "code=c&state="):
        with pytest.raises(StateMismatchError):
            read_redirect(redirect, state="")


@pytest.mark.parametrize("query", ["state=s&state=s&code=c", "state=x&code=c&code=c", "error=e&error=e"])
def test_a_strangers_repeated_parameters_are_no_answer(query: str) -> None:
    with pytest.raises(StateMismatchError):
        read_redirect(query, state="s")


@pytest.mark.parametrize("name", ["code", "error", "iss"])
def test_a_repeated_parameter_is_refused(name: str) -> None:
    query = urlencode([("state", "s"), ("code", "c"), (name, "s"), (name, "s")])
    with pytest.raises(RedirectError, match="repeats"):
        read_redirect(query, state="s")


@pytest.mark.parametrize("query", ["state=s", "state=s&code=", "state=s&code=a%0d%0ab", "state=s&code=%C3%BC"])
def test_a_redirect_without_a_usable_code_is_told(query: str) -> None:
    with pytest.raises(RedirectError, match="no code"):
        read_redirect(query, state="s")


@pytest.mark.parametrize(
    ("iss", "required", "believed"),
    [
        (ISSUER, False, True),
        (ISSUER, True, True),
        (None, False, True),
        (None, True, False),
        ("https://evil.example", False, False),
        (ISSUER + "/", False, False),
        ("", False, False),
    ],
)
def test_the_issuer_is_compared_where_it_is_known(iss: str | None, required: bool, believed: bool) -> None:
    query = urlencode({"state": "s", "code": "c", **({} if iss is None else {"iss": iss})})
    if believed:
        assert read_redirect(query, state="s", issuer=ISSUER, issuer_required=required) == "c"
        return
    with pytest.raises(RedirectError, match="RFC 9207"):
        read_redirect(query, state="s", issuer=ISSUER, issuer_required=required)


def test_a_foreign_issuers_error_is_not_believed_either() -> None:
    with pytest.raises(RedirectError, match="RFC 9207"):
        read_redirect("state=s&error=access_denied&iss=https://evil.example", state="s", issuer=ISSUER)


@pytest.mark.parametrize("error", ["access_denied", "user_denied", "consent_required", "login_required"])
def test_a_persons_no_is_told_from_a_mistake(error: str) -> None:
    with pytest.raises(DeniedError, match="consent was refused") as caught:
        read_redirect(f"state=s&error={error}&error_description=The+person+said+no", state="s")
    assert caught.value.error == error
    assert caught.value.denied
    assert "The person said no" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "step"),
    [
        ("invalid_scope", "Ask for scopes"),
        ("temporarily_unavailable", "Try again later"),
        ("server_error", "Try again later"),
        ("unauthorized_client", "Check the client file"),
        ("of_their_own", "Check the client file"),
    ],
)
def test_a_mistake_says_what_to_do(error: str, step: str) -> None:
    with pytest.raises(DeniedError, match="provider refused") as caught:
        read_redirect(f"state=s&error={error}&code=c", state="s")
    assert not caught.value.denied
    assert step in caught.value.next_step


def test_a_providers_text_cannot_write_to_the_terminal() -> None:
    with pytest.raises(DeniedError) as caught:
        read_redirect("state=s&error=%1b%5b2J&error_description=a%0d%0ab%1b%5d0;x%07" + "y" * 9000, state="s")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 4096
    assert caught.value.error.isprintable()


@pytest.mark.parametrize("secret", ["5tate-0f/ours", "c0de/0f+theirs"])
def test_a_refusal_that_echoes_state_or_code_is_masked(secret: str) -> None:
    sent = urlencode({"state": "5tate-0f/ours", "code": "c0de/0f+theirs"})
    for echo in (secret, quote(secret, safe=""), "a" * 70 + secret, "a" * 290 + secret):
        told = urlencode({"error": echo, "error_description": f"not {echo}, but {echo}"})
        with pytest.raises(DeniedError) as caught:
            read_redirect(f"{sent}&{told}", state="5tate-0f/ours")
        shown = f"{caught.value} {caught.value.error}"
        assert secret[:6] not in shown
        assert "***" in shown or len(echo) > 80
    with pytest.raises(RedirectError, match="RFC 9207") as foreign:
        read_redirect(f"{sent}&{urlencode({'iss': secret})}", state="5tate-0f/ours", issuer=ISSUER)
    assert secret[:6] not in str(foreign.value)


surrogates = st.characters(categories=["Cs"])
pieces = st.lists(
    st.sampled_from(["code", "state", "error", "iss", "=", "&", "?", "#", "://", "/", "http", "%", "%00", "[", "s"])
    | st.characters()
    | surrogates,
    max_size=20,
).map("".join)


@given(pieces, st.sampled_from([None, ISSUER]))
def test_any_text_is_a_code_or_our_error(redirect: str, issuer: str | None) -> None:
    with suppress(SlyError):
        code = read_redirect(redirect, state="s", issuer=issuer)
        assert code.isprintable()
        assert "state=s" in redirect


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1), st.text(min_size=1))
def test_what_a_provider_encodes_is_read_again(code: str, state: str) -> None:
    query = urlencode({"code": code, "state": state})
    assert read_redirect(query, state=state) == code
    assert read_redirect(f"http://127.0.0.1:8080/cb?{query}", state=state) == code
    with pytest.raises(StateMismatchError):
        read_redirect(query, state=state + "x")


def test_the_challenge_is_that_of_rfc_7636_appendix_b() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert s256_challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_a_verifier_has_43_characters_of_its_alphabet_and_is_fresh_each_time() -> None:
    verifiers = {new_verifier() for _ in range(200)}
    assert len(verifiers) == 200
    assert all(len(text) == 43 and text.replace("-", "").replace("_", "").isalnum() for text in verifiers)
