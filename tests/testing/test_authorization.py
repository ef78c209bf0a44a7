"""The authorization endpoint and the consent form: what is shown, what is sent back, what is refused."""
from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.testing.conftest import Practice, Reply, Start

REDIRECT_URI = "http://localhost:8080/back"


def is_refusal(reply: Reply) -> bool:
    """A page for the person, and nothing that leads anywhere."""
    return reply.status == 400 and "Location" not in reply.headers and "<h1>This request" in reply.text


async def test_a_good_request_is_sent_back_with_code_state_and_issuer(start: Start) -> None:
    async with start() as practice:
        reply = await practice.authorize()
        assert reply.status == 303
        assert reply.headers["Location"].startswith(REDIRECT_URI + "?")
        assert set(reply.sent_back) == {"code", "state", "iss"}
        assert reply.sent_back["iss"] == practice.provider.origin
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("client_id", [None, "", "someone-else", "PRACTICE-CLIENT"])
async def test_an_unknown_client_is_told_on_a_page_and_never_by_redirect(
    start: Start, client_id: str | None
) -> None:
    async with start() as practice:
        assert is_refusal(await practice.authorize(client_id=client_id))
        assert practice.provider.log[-1].outcome == "refused"


@pytest.mark.parametrize(
    "redirect_uri",
    [
        None,
        "http://localhost:8080",
        "http://localhost:8080/back/",
        "http://localhost:8080/Back",
        "http://localhost:8080/back?x=1",
        "http://localhost:8080/back#x",
        "http://localhost:8081/back",
        "http://localhost/back",
        "https://localhost:8080/back",
        "http://127.0.0.1:8080/back",
        "http://localhost:8080@evil.example/back",
        "http://LOCALHOST:8080/back",
    ],
)
async def test_a_redirect_uri_that_is_not_registered_is_told_on_a_page(
    start: Start, redirect_uri: str | None
) -> None:
    async with start() as practice:
        assert is_refusal(await practice.authorize(redirect_uri=redirect_uri))


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
async def test_a_repeated_client_id_or_redirect_uri_is_told_on_a_page(start: Start, name: str) -> None:
    async with start() as practice:
        assert is_refusal(await practice.authorize((name, practice.asked[name])))


async def test_a_query_that_is_not_utf8_is_told_on_a_page(start: Start) -> None:
    async with start() as practice:
        assert is_refusal(await practice.send("GET", practice.provider.authorize_url + "?client_id=%ff"))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
async def test_a_loopback_uri_registered_without_port_may_have_any(start: Start, host: str) -> None:
    async with start(redirect_uris=[f"http://{host}/back"]) as practice:
        for port in ("", ":1", ":65535"):
            uri = f"http://{host}{port}/back"
            reply = await practice.authorize(redirect_uri=uri)
            assert reply.headers["Location"].startswith(uri + "?code=")
        for wrong in (f"http://{host}:1/other", f"https://{host}:1/back", f"http://{host}:/back",
            f"http://{host}:65536/back", f"http://{host}:0/back"):
            assert is_refusal(await practice.authorize(redirect_uri=wrong))


async def test_other_hosts_keep_the_port_that_they_were_registered_with(start: Start) -> None:
    async with start(redirect_uris=["https://app.example/back", "http://127.0.0.1.evil.example/"]) as practice:
        assert is_refusal(await practice.authorize(redirect_uri="https://app.example:444/back"))
        assert is_refusal(await practice.authorize(redirect_uri="http://127.0.0.1.evil.example:80/"))
        assert (await practice.authorize(redirect_uri="https://app.example/back")).status == 303


async def test_the_query_of_a_redirect_uri_is_kept(start: Start) -> None:
    async with start(redirect_uris=["http://localhost:8080/back?a=b%20c"]) as practice:
        reply = await practice.authorize(redirect_uri="http://localhost:8080/back?a=b%20c")
        assert reply.headers["Location"].startswith("http://localhost:8080/back?a=b%20c&code=")


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge": "c" * 42}, "invalid_request"),
        ({"code_challenge": "c" * 44}, "invalid_request"),
        ({"code_challenge": "c" * 42 + "="}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": "s256"}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "weather.read admin"}, "invalid_scope"),
        ({"scope": "weather.read,notes"}, "invalid_scope"),
        ({"scope": "weather.read  notes"}, "invalid_scope"),
        ({"client_secret": "x"}, "invalid_request"),
        ({"code_verifier": "x"}, "invalid_request"),
    ],
)
async def test_what_is_wrong_goes_back_with_state_and_issuer(
    start: Start, changed: dict[str, str | None], error: str
) -> None:
    async with start() as practice:
        reply = await practice.authorize(**changed)
        assert reply.sent_back["error"] == error
        assert reply.sent_back["error_description"]
        assert reply.sent_back["state"] == "the state"
        assert reply.sent_back["iss"] == practice.provider.origin
        assert "code" not in reply.sent_back
        assert practice.provider.log[-1].outcome == error


@pytest.mark.parametrize("name", ["response_type", "scope", "code_challenge", "code_challenge_method", "odd"])
async def test_a_repeated_parameter_is_refused(start: Start, name: str) -> None:
    async with start() as practice:
        value = practice.asked.get(name, "x")
        reply = await practice.authorize((name, value), **{name: value})
        assert reply.sent_back["error"] == "invalid_request"


async def test_of_two_states_neither_is_sent_back(start: Start) -> None:
    async with start() as practice:
        reply = await practice.authorize(("state", "another"))
        assert reply.sent_back["error"] == "invalid_request"
        assert "state" not in reply.sent_back


@pytest.mark.parametrize("state", ["plain", "a b&c=d#e%41+", "ünï\u2028", "<script>", "s" * 2000, "\r\nX: y"])
async def test_state_comes_back_unchanged(start: Start, state: str) -> None:
    async with start() as practice:
        assert (await practice.authorize(state=state)).sent_back["state"] == state


async def test_without_state_none_is_sent_back(start: Start) -> None:
    async with start() as practice:
        assert "state" not in (await practice.authorize(state=None)).sent_back


async def test_unknown_parameters_are_ignored(start: Start) -> None:
    async with start() as practice:
        assert "code" in (await practice.authorize(access_type="offline", prompt="consent")).sent_back


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT"])
async def test_only_get_starts_a_grant(start: Start, method: str) -> None:
    async with start() as practice:
        url = practice.provider.authorize_url
        assert (await practice.send(method, url)).status == 405
        assert practice.provider.log == []


async def test_deny_by_itself_sends_access_denied_back(start: Start) -> None:
    async with start(consent="deny") as practice:
        reply = await practice.authorize()
        assert reply.sent_back["error"] == "access_denied"
        assert reply.sent_back["state"] == "the state"
        assert reply.sent_back["iss"] == practice.provider.origin


async def test_the_person_may_grant_less_than_was_asked(start: Start) -> None:
    async with start(granted_scopes=lambda asked: [scope for scope in asked if scope != "notes"]) as practice:
        tokens = await practice.tokens()
        assert tokens["scope"] == "weather.read"
        assert (await practice.call("/notes", tokens["access_token"])).status == 403


async def test_granting_nothing_is_a_denial(start: Start) -> None:
    async with start(granted_scopes=lambda asked: []) as practice:
        assert (await practice.authorize()).sent_back["error"] == "access_denied"


# The consent page and its form.


async def ticket_of(practice: Practice) -> str:
    page = await practice.authorize()
    assert page.status == 200
    found = re.search(r'name="ticket" value="([^"]+)"', page.text)
    assert found
    return found[1]


async def decide(practice: Practice, ticket: str, decision: str = "allow", **headers: str) -> Reply:
    pairs = [("ticket", ticket), ("decision", decision)]
    return await practice.post(practice.provider.origin + "/consent", pairs, **headers)


async def test_allow_sends_a_code_back_that_becomes_tokens(start: Start) -> None:
    async with start(consent="ask") as practice:
        reply = await decide(practice, await ticket_of(practice))
        assert reply.status == 303
        assert reply.sent_back["state"] == "the state"
        assert (await practice.exchange(reply.sent_back["code"])).status == 200


async def test_deny_sends_access_denied_back(start: Start) -> None:
    async with start(consent="ask") as practice:
        reply = await decide(practice, await ticket_of(practice), "deny")
        assert reply.sent_back["error"] == "access_denied"


async def test_a_ticket_is_good_once(start: Start) -> None:
    async with start(consent="ask") as practice:
        ticket = await ticket_of(practice)
        assert (await decide(practice, ticket, "deny")).status == 303
        assert is_refusal(await decide(practice, ticket, "allow"))


@pytest.mark.parametrize("decision", ["", "yes", "ALLOW"])
async def test_an_answer_that_is_neither_allow_nor_deny_grants_nothing(start: Start, decision: str) -> None:
    async with start(consent="ask") as practice:
        assert is_refusal(await decide(practice, await ticket_of(practice), decision))


async def test_an_answer_without_our_ticket_grants_nothing(start: Start) -> None:
    async with start(consent="ask") as practice:
        await ticket_of(practice)
        assert is_refusal(await decide(practice, "a guess"))
        assert is_refusal(await practice.post(practice.provider.origin + "/consent", [("decision", "allow")]))


async def test_a_ticket_ends_after_ten_minutes(start: Start) -> None:
    async with start(consent="ask") as practice:
        early, late = await ticket_of(practice), await ticket_of(practice)
        practice.clock.now += 599
        assert (await decide(practice, early)).status == 303
        practice.clock.now += 1
        assert is_refusal(await decide(practice, late))


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}],
)
async def test_another_site_cannot_answer_for_the_person(start: Start, headers: dict[str, str]) -> None:
    async with start(consent="ask") as practice:
        ticket = await ticket_of(practice)
        reply = await decide(practice, ticket, **headers)
        assert reply.status == 403
        assert "Location" not in reply.headers
        good = {"Origin": practice.provider.origin, "Sec_Fetch_Site": "same-origin"}
        assert (await decide(practice, ticket, **good)).status == 303


async def test_an_answer_in_the_url_or_with_repeated_parts_grants_nothing(start: Start) -> None:
    async with start(consent="ask") as practice:
        url, ticket = practice.provider.origin + "/consent", await ticket_of(practice)
        assert is_refusal(await practice.post(f"{url}?ticket={ticket}&decision=allow", []))
        twice = [("ticket", ticket), ("decision", "deny"), ("decision", "allow")]
        assert is_refusal(await practice.post(url, twice))
        assert (await practice.send("GET", f"{url}?ticket={ticket}&decision=allow")).status == 405


async def test_a_name_pointed_at_this_computer_reaches_nothing(start: Start) -> None:
    async with start() as practice:
        for path in ("/authorize", "/api/me", "/.well-known/oauth-authorization-server"):
            reply = await practice.send("GET", practice.provider.origin + path, Host="evil.example")
            assert reply.status == 421
            assert practice.provider.log[-1].outcome == "wrong_host"
