"""URLs that strangers choose."""
from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from SlyAPI import Auth, WebAPI
from SlyAPI.errors import ConfigError, OriginError
from SlyAPI.testing import PracticeProvider
from SlyAPI.web.urls import check_endpoint, parsed_url

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


@example("https", [":", "word", "@", "as.example", "/token"])
@example("https", ["@", "as.example"])
@given(st.sampled_from(["http", "https"]), st.lists(st.sampled_from(PIECES), max_size=6))
def test_an_endpoint_that_is_accepted_has_no_user_and_its_secrets_are_protected(scheme: str, pieces: list[str]) -> None:
    uri = f"{scheme}://{''.join(pieces)}"
    try:
        check_endpoint(uri, "token_uri")
        sent_to = URL(uri)
    except (ConfigError, ValueError, IndexError):
        return
    assert "@" not in sent_to.raw_authority, "aiohttp sends user and password as credentials"
    assert "@" not in uri.partition("//")[2].partition("/")[0].partition("?")[0]
    assert sent_to.scheme == "https" or sent_to.host in ("localhost", "127.0.0.1", "::1")
