"""The broker and a web page in a real browser, which has the address and even the pass."""
from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.support.brokered import api_of_our_own, serves, with_account
from tests.support.serving import all_by, served

if TYPE_CHECKING:
    from tests.end_to_end.chromium import Person

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="starts a program")]

TRIES = {
    "fetch": "fetch(url, {headers: {Authorization: 'Bearer ' + secret}}).then(reply => reply.text())",
    "fetch without a preflight": "fetch(url, {mode: 'no-cors', method: 'POST', body: 'x'}).then(reply => reply.text())",
    "a form": "new Promise(done => { const form = document.createElement('form'); form.action = url;"
    " form.method = 'POST'; form.target = 'inner'; const inner = document.createElement('iframe');"
    " inner.name = 'inner'; inner.onload = () => done(''); document.body.append(inner, form); form.submit(); })",
    "an image": "new Promise(done => { const image = new Image(); image.onload = image.onerror = () => done('');"
    " image.src = url; })",
    "a script": "new Promise(done => { const script = document.createElement('script'); script.src = url;"
    " script.onload = script.onerror = () => done(''); document.head.append(script); })",
}


async def test_no_page_calls_the_api_even_with_the_pass(tmp_path: Path, person: Person) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>evil</title><body>", content_type="text/html")

    async with api_of_our_own() as api, with_account(tmp_path, api.origin) as place, served(all_by(page)) as evil:
        broker = await serves(place)
        tab = (await person.visits(evil)).page
        for how, script in TRIES.items():
            run = f"([url, secret]) => {script}.catch(() => 'refused')"
            got = await asyncio.wait_for(tab.evaluate(run, [f"{broker.url}/x", broker.secret]), 30)
            assert got in ("", "refused"), how
        landing = await person.visits(f"{broker.url}/x")
        assert landing.status == 403
        assert not api.seen
        async with broker.caller() as caller, caller.get("/x") as reply:
            assert reply.status == 200, "a program is let through all the while"
