"""URLs that strangers choose."""
from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from SlyAPI import Auth, WebAPI
from SlyAPI.errors import ConfigError, OriginError, SlyError
from SlyAPI.oauth2.client.discovery import SETTINGS, metadata_requests, read_metadata
from SlyAPI.oauth2.messages.device import read_device_reply
from SlyAPI.oauth2.messages.protected_resource import metadata_places, read_resource_metadata
from SlyAPI.oauth2.messages.registration import read_registration
from SlyAPI.paging import LinkPages, NextUrlPages
from SlyAPI.testing import PracticeProvider
from SlyAPI.web import Reply
from SlyAPI.web.secret_values import Secrets
from SlyAPI.web.urls import check_endpoint, parsed_url
from tests.support.serving import all_by, served

UNREADABLE = ["https://[::]@", "https://[::", "https://a:x/"]


@given(st.text("htps:/[]@.?#%\\1a ", max_size=20))
def test_text_is_a_url_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        parsed_url(text)


@pytest.mark.parametrize("url", UNREADABLE)
async def test_a_url_that_cannot_be_read_is_at_no_origin(url: str) -> None:
    async with PracticeProvider().running() as issuer, WebAPI(Auth.none()) as api:
        api.base_url = issuer
        with pytest.raises((OriginError, ConfigError)):
            await api.get_json(url)


PIECES = [
    *("http:", "https:", "//", "/", "\\", "@", ":", "[", "]", "?", "%40", "%2f", ".", "\t", " ", "user"),
    *("localhost", "127.0.0.1", "::1", "evil.example", "8080", "\N{IDEOGRAPHIC FULL STOP}", "\N{FULLWIDTH SOLIDUS}"),
]


# --- every URL that a server names ---

ISSUER = "https://as.example"
RESOURCE = "https://api.example/v1"
DEVICE = {"device_code": "d", "user_code": "u", "expires_in": 600, "verification_uri": f"{ISSUER}/device"}


def answer(**members: Any) -> Reply:
    return Reply(200, {"Content-Type": "application/json"}, json.dumps(members).encode(), f"{ISSUER}/x")


def metadata(**members: Any) -> dict[str, Any]:
    found = read_metadata(answer(issuer=ISSUER, **members), ISSUER)
    assert found is not None
    return found


def device(**members: Any) -> tuple[str, str | None]:
    login = read_device_reply(answer(**(DEVICE | members)), now=0, scopes=[], secrets=Secrets(()))
    return login.verification_uri, login.verification_uri_complete


def endpoint(name: str, url: str) -> object:
    return metadata(**{name: url})


def complete(url: str) -> object:
    if device(verification_uri_complete=url)[1] is None:
        raise ConfigError("left out: the person can type the code")
    return None


def registered(url: str) -> object:
    return read_registration(answer(client_id="c", registration_client_uri=url), {}, Secrets(()))


def issuers(url: str) -> object:
    place, *_ = metadata_places(RESOURCE)
    return read_resource_metadata(answer(resource=RESOURCE, authorization_servers=[url]), place)


READERS: dict[str, Callable[[str], object]] = {
    **{name: partial(endpoint, name) for name in SETTINGS.values()},
    "mtls_endpoint_aliases": lambda url: metadata(mtls_endpoint_aliases={"token_endpoint": url}),
    "verification_uri": lambda url: device(verification_uri=url),
    "verification_url": lambda url: device(verification_uri=None, verification_url=url),
    "verification_uri_complete": complete,
    "registration_client_uri": registered,
    "resource_metadata": lambda url: metadata_places(RESOURCE, url),
    "authorization_servers": issuers,
    "issuer": metadata_requests,
    "token_uri": lambda url: check_endpoint(url, "token_uri"),
}


def is_safe(url: str) -> bool:
    """Whether aiohttp parses the URL, a resolver can spell its host, and what is sent there is protected."""
    try:
        read = URL(url)
        host = read.raw_host or ""
        host.encode("idna")  # as `socket.getaddrinfo` does
    except (ValueError, IndexError):
        return False
    protected = read.scheme == "https" or (read.scheme == "http" and host in ("localhost", "127.0.0.1", "::1"))
    return protected and host != "" and "%" not in host and "@" not in read.raw_authority + url.partition("?")[0]


HOSTS = [
    *("as.example", "[::1]", "[::g]", "[v1.a]", "[::1]x", "a..b", ".a", ".", "a" * 64, "a." * 130 + "b"),
    *("xn--a", "%2f", "a%20b", "1.2.3.4%00\N{ARABIC-INDIC DIGIT THREE}", "\N{SMALL LESS-THAN SIGN}%", "\u200d"),
    *("\udcff", "<>", "", "\0", ":word@as.example", "@as.example", "a b", "localhost"),
]
named_urls = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["https://", "http://", "https:/", "//", "https:", "HTTPS://", "javascript://", "file://"]),
        st.sampled_from(HOSTS) | st.text(max_size=6) | st.lists(st.sampled_from(PIECES), max_size=4).map("".join),
        st.sampled_from(["", ":0", ":x", ":99999", ":443"]),
        st.sampled_from(["", "/", "/a?b", "/#", "/%zz", "/\\", "/\udcff"]),
    ),
)


@settings(max_examples=400)
@given(st.sampled_from(sorted(READERS)), named_urls)
def test_a_url_that_a_server_names_is_whole_and_safe_or_refused_where_it_is_read(name: str, url: str) -> None:
    try:
        READERS[name](url)
    except SlyError:
        return
    assert is_safe(url)


def a_bad_url(choose: random.Random) -> str:
    host = choose.choice([*HOSTS, *PIECES, "".join(choose.choices(PIECES, k=3))])
    before, behind = ["https://", "http://", "//", "/", "", "https:"], ["", ":x", "/a?b=%2F", "/\\"]
    return choose.choice(before) + host + choose.choice(behind)


@pytest.mark.parametrize("place", ["Location", "Link", "next"])
async def test_no_url_of_a_redirect_or_a_next_page_is_a_raw_error(place: str) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path != "/start":
            return web.json_response({"items": []})
        headers = {"Location": url, "Link": f"<{url}>; rel=next"}
        moved = place == "Location"
        return web.json_response({"items": [1], "next": url}, headers=headers, status=302 if moved else 200)

    choose = random.Random(5)
    pages = {"Link": LinkPages(), "next": NextUrlPages(), "Location": NextUrlPages()}[place]
    async with served(all_by(handler)) as origin, WebAPI(Auth.none(), origin, timeout=0.2) as api:
        for _ in range(150):
            url = a_bad_url(choose)
            if place != "next":
                url = "".join(c for c in url if c.isprintable())  # what aiohttp's server writes into a header
            with suppress(SlyError):
                _ = [item async for item in api.paginated("/start", pages=pages)]
