"""URLs that strangers choose."""
from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI import Auth, WebAPI
from SlyAPI.errors import ConfigError, OriginError
from SlyAPI.testing import PracticeProvider
from SlyAPI.web.urls import parsed_url

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
