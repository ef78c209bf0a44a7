"""A person whose browser is only forms and redirects: where the pages are not what is tested, a process less.

The rule: fills in what a page's own form has, and follows where it leads.
"""
from __future__ import annotations

import html
import re
from ssl import SSLContext

import aiohttp
from yarl import URL

_FORM = re.compile(r'<form[^>]*action="([^"]+)"(.*?)</form>', re.DOTALL)
_INPUT = re.compile(r'<input[^>]*name="([^"]+)"(?:[^>]*?value="([^"]*)")?')
_PAGES = 8


async def consents(
    url: str, *, until: str = "", login: str = "alice", abort: bool = False, tls: SSLContext | None = None
) -> str:
    """Opens `url`, signs in and consents; the address at which it ends, or the one of `until` with its answer.

    With `abort` the person stops at the page that shows a device's code; `tls` is what their browser trusts.
    """
    connector = aiohttp.TCPConnector(ssl=True if tls is None else tls)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        at, form = URL(url, encoded=True), None
        for _ in range(_PAGES * 2):
            if until and str(at).startswith(until):
                return str(at)
            async with browser.request("GET" if form is None else "POST", at, data=form, allow_redirects=False) as page:
                text = await page.text()
                location = page.headers.get("Location")
            if location is not None:
                at, form = at.join(URL(location, encoded=True)), None
                continue
            found = _FORM.search(text)
            if found is None:
                return str(at)
            form = {name: html.unescape(value) for name, value in _INPUT.findall(found[2])}
            form |= {"login": login, "password": "any password does"} if "login" in form else {}
            at = at.join(URL(html.unescape(found[1]), encoded=True))
            if abort and "confirm" in form:
                async with browser.post(at, data=form | {"abort": "yes"}) as page:
                    return str(page.url)
        raise AssertionError(f"the provider asks without end, last on {at}")
