"""The example web applications, where the API answers with JSON of another shape than its documentation says."""
from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from aiohttp import web

from tests.end_to_end.test_web_logout import signed_in
from tests.end_to_end.web_site import PEOPLE, Site, site_of
from tests.support.serving import all_by, served

if TYPE_CHECKING:
    from tests.end_to_end.web_site import Framework

ODD: list[Any] = [None, True, 1, "text", [], [1], [None], {}, {"items": None}, {"items": {}}, {"items": ["text", 1]}]
ODD += [{"items": [{}]}, {"items": [{"text": {"a": 1}}]}, {"items": [{"text": None}]}, {"name": ["<b>", None, {}]}]


@pytest_asyncio.fixture(params=["aiohttp", "starlette"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    framework: Framework = request.param
    async with site_of(framework) as running:
        running.provider.consent = "allow"
        yield running


@pytest.mark.parametrize(("path", "page"), [("/me", "/"), ("/notes", "/"), ("/archive", "/list")])
async def test_an_odd_answer_of_the_api_is_a_page_and_no_failure_of_the_application(
    site: Site, path: str, page: str
) -> None:
    answers: dict[str, Any] = {}

    async def answer(request: web.Request) -> web.Response:
        right = {"/me": {"name": "Ada"}, "/notes": {"items": []}, "/archive": {"items": []}}[request.path]
        return web.json_response(answers.get(request.path, right))

    async with await signed_in(site, PEOPLE[0]) as browser, served(all_by(answer)) as origin:
        site.accounts.service = replace(site.accounts.service, api=origin)
        for odd in ODD:
            answers[path] = odd
            async with browser.get(f"{site.url}{page}") as shown:
                assert shown.status in (200, 502), json.dumps(odd)
                assert "default-src 'none'" in shown.headers["Content-Security-Policy"], json.dumps(odd)
                text = await shown.text()
            assert text.endswith("</html>"), json.dumps(odd)
            assert "<b>\"" not in text
