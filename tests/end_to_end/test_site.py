"""The documentation site as built, opened from the disk: links, addresses, phone width, contrast, search.

The rule: nothing leaves this machine. The site is built first if a page is newer than it.
"""
from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
from collections.abc import AsyncIterator
from functools import cache
from html.parser import HTMLParser
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Page, Route

from docs.site import api, navigation
from tests.end_to_end.chromium import person_at_a_browser

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "_site"
SHOWN = ["index", "tutorial", "scale", "SlyAPI.limits", "search", "404"]
"""A page of each look; with CI set, all are examined."""

# what a user types: the page that answers, which is among the first three results
QUESTIONS = {
    "redirect_uri_mismatch": "troubleshooting.html#redirect_uri_mismatch",
    "invalid_grant after 7 days google": "troubleshooting.html#invalid_grant-after-seven-days",
    "why do I get no refresh token": "troubleshooting.html#there-is-no-refresh-token",
    "403 after adding a scope": "troubleshooting.html#403-after-a-change-of-scopes",
    "port 8080 already in use": "troubleshooting.html#the-port-is-in-use",
    "login over ssh without a browser": "troubleshooting.html#over-ssh-no-browser-opens",
    "how to grant in a docker container": "troubleshooting.html#in-a-container-the-browser-cannot-connect",
    "google access blocked app not verified": "troubleshooting.html#access-blocked-the-app-is-not-verified",
    "certificate_verify_failed": "troubleshooting.html#tls-fails-with-a-private-ca",
    "clock skew wrong time": "troubleshooting.html#the-clock-is-wrong",
    "behind a company proxy": "troubleshooting.html#behind-a-proxy",
    "self-signed certificate in chain": "troubleshooting.html#tls-fails-with-a-private-ca",
    "Event loop is closed": "troubleshooting.html#event-loop-is-closed-or-unclosed-client-session",
    "store tokens in redis": "stores.html",
    "encrypt the tokens on disk": "stores.html",
    "client credentials machine to machine": "machines.html",
    "service account google key file": "machines.html",
    "rate limit retry 429": "troubleshooting.html#429-too-many-requests",
    "how do I test my program offline with pytest": "testing-your-program.html",
    "exchange_code": "SlyAPI.oauth2.html#SlyAPI.oauth2.OAuth2App.exchange_code",
    "exit codes of the command line": "command-line.html#exit-codes",
    "migrate from requests-oauthlib": "migrating.html",
    "sign in with my company's OpenID Connect server": "tutorial.html",
    "paginate all pages of an api": "writing-an-api-client.html",
    "revoke a token": "command-line.html#revoke",
    "what is PKCE for": "how-a-grant-works.html",
    "device code flow for a tv": "getting-oauth2-credentials.html",
    "upload a file with progress": "recipes.html",
    "systemd timer": "production.html#with-systemd",
    "use a proxy": "recipes.html",
    "use it with httpx": "recipes.html",
    "jupyter notebook": "recipes.html",
    "fastapi login with google": "fastapi.html",
    "log in with github in flask": "fastapi.html#flask",
    "django async view": "fastapi.html#django",
    "kubernetes token without a secret": "machines.html#without-a-secret",
    "log out everywhere": "sign-in.html#signing-out",
    "download a large file": "writing-an-api-client.html#large-answers",
    "windows service": "windows.html#services-and-scheduled-tasks",
    "pydantic model as the answer": "recipes.html",
    "get the access token as a string": "recipes.html",
    "set a timeout": "recipes.html",
    "several accounts at once": "recipes.html",
    "run from cron": "recipes.html",
    "curl with a token": "command-line.html#with-curl",
}


class Parts(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.pictures: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.links |= {value for name in ("href", "src", "action") if (value := values.get(name))}
        self.anchors |= {value for name in ("id", "name") if (value := values.get(name))}
        if tag == "img":
            self.pictures.append(values.get("alt"))


@cache
def built() -> dict[str, Parts]:
    """Every page of the site, by its file's name."""
    index = SITE / "index.html"
    sources = [path for folder in ("docs", "src/SlyAPI") for path in (ROOT / folder).rglob("*") if path.is_file()]
    sources = [path for path in sources if not {"_site", "__pycache__"} & {*path.parts}]
    newest = max(path.stat().st_mtime for path in [*sources, ROOT / "README.md"])
    (ROOT / ".tests").mkdir(exist_ok=True)
    with (ROOT / ".tests" / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker of the same run may be building it
        if not index.exists() or index.stat().st_mtime < newest:
            ran = subprocess.run([ROOT / "docs" / "build"], cwd=ROOT, capture_output=True, text=True, timeout=600)
            assert ran.returncode == 0, ran.stderr
    return {path.name: Parts(path.read_text("utf-8")) for path in sorted(SITE.glob("*.html"))}


def examined() -> list[str]:
    return [name.removesuffix(".html") for name in built()] if os.environ.get("CI") else SHOWN


def address(name: str) -> str:
    return f"http://docs.example/{name}.html"


async def serve(route: Route) -> None:
    """A server of the site: what is not there is answered with its page for that."""
    path = SITE / urlsplit(route.request.url).path.lstrip("/")
    await (route.fulfill(path=path) if path.is_file() else route.fulfill(status=404, path=SITE / "404.html"))


@pytest_asyncio.fixture
async def page() -> AsyncIterator[Page]:
    """A page of a browser that reaches the disk and nothing else."""
    built()
    async with person_at_a_browser(reaches=()) as someone:
        yield await someone.context.new_page()


def test_no_link_is_broken() -> None:
    broken: list[str] = []
    pages = built()
    for name, parts in pages.items():
        for link in parts.links:
            to = urlsplit(link)
            if to.scheme:
                assert to.scheme in ("https", "http", "data", "mailto"), link
                continue
            path = to.path.lstrip("/") if name == "404.html" else to.path  # the one that a server shows anywhere
            target = SITE / unquote(path or ("index.html" if name == "404.html" else name))
            anchor = unquote(to.fragment)
            known = pages[target.name].anchors if target.name in pages else {anchor}
            broken += [] if target.is_file() and (not anchor or anchor in known) else [f"{name}: {link}"]
    assert broken == []


def test_no_link_is_without_words() -> None:
    without = re.compile(r'<a class="reference [^>]*>(?:<span[^>]*></span>)*</a>')
    assert [name for name in built() if without.search((SITE / name).read_text("utf-8"))] == []


def test_a_page_loads_nothing_from_another_machine() -> None:
    for name in built():
        text = (SITE / name).read_text("utf-8")
        loading = [part for part in text.split("<") if part.startswith(("script", "link", "img", "iframe"))]
        assert [part for part in loading if "://" in part.replace("http://www.w3.org", "")] == [], name


def test_every_public_name_has_its_address() -> None:
    for package, name, value in api.exports():
        home = api.home_of(package, name, value)
        assert f"{home}.{name}" in built()[f"{home}.html"].anchors, name
        assert f"{package}.{name}" in built()[f"{package}.html"].anchors, name


@pytest.mark.parametrize("name", ["auth_url_with_pkce", "exchange_code", "begin_login", "finish_login", "revoke"])
def test_an_address_that_users_know_is_there_and_the_tutorials_lead_to_it(name: str) -> None:
    known = f"SlyAPI.oauth2.OAuth2App.{name}"
    assert known in built()["SlyAPI.oauth2.html"].anchors
    if name in ("auth_url_with_pkce", "exchange_code"):
        for tutorial in ("tutorial.html", "getting-oauth2-credentials.html"):
            assert f"SlyAPI.oauth2.html#{known}" in built()[tutorial].links


def test_headings_keep_the_anchors_that_a_forge_gives_them() -> None:
    assert {"redirect_uri_mismatch", "localhost-or-127001"} <= built()["troubleshooting.html"].anchors


def test_every_picture_has_a_text() -> None:
    assert [name for name, parts in built().items() if not all(parts.pictures)] == []


def test_there_is_a_page_for_what_is_not_there_and_one_for_machines() -> None:
    assert "404.html" in built()
    text = (SITE / "llms.txt").read_text("utf-8")
    linked = [line.partition("](")[2].partition(")")[0] for line in text.splitlines() if line.startswith("- [")]
    pages = [link.page for link in navigation.links(navigation.site_links((ROOT / "docs/index.md").read_text("utf-8")))]
    assert linked == pages + [f"{package}.txt" for package in api.PACKAGES]
    assert all((SITE / name).is_file() for name in linked)
    full = (SITE / "llms-full.txt").read_text("utf-8")
    assert "# Troubleshooting" in full
    assert "exchange_code(" in full


async def test_no_page_is_wider_than_a_phone(page: Page) -> None:
    await page.set_viewport_size({"width": 390, "height": 844})
    wide: dict[str, int] = {}
    for name in built():
        await page.goto((SITE / name).as_uri(), wait_until="domcontentloaded")
        width = await page.evaluate("document.documentElement.scrollWidth")
        if width > 390:
            wide[name] = width
    assert wide == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everybody_can_read_it(page: Page, scheme: str) -> None:
    """WCAG 2 AA, contrast above all, as axe-core judges it."""
    await page.route("http://docs.example/**", serve)
    axe = distribution("axe-playwright-python").locate_file("axe_playwright_python/axe.min.js")
    judge = Path(str(axe)).read_text("utf-8")
    await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    poor: list[str] = []
    for name in examined():
        await page.goto(address("not/there" if name == "404" else name) + ("?q=token" if name == "search" else ""))
        await page.evaluate(judge)
        found = await page.evaluate("axe.run({runOnly: {type: 'tag', values: ['wcag2a', 'wcag2aa']}})")
        for violation in found["violations"]:
            poor += [f"{name}: {violation['id']}: {node['html'][:120]}" for node in violation["nodes"]]
    assert poor == []


async def test_the_drawings_follow_the_colours_that_the_reader_chose(page: Page) -> None:
    await page.emulate_media(color_scheme="light")
    await page.goto((SITE / "how-a-grant-works.html").as_uri())
    picture = page.locator("article img[src$='.svg']").first
    light = await picture.screenshot()
    await page.evaluate("document.body.dataset.theme = 'dark'")
    assert await picture.screenshot() != light


async def test_search_finds_what_users_ask(page: Page) -> None:
    await page.goto((SITE / "search.html").as_uri())
    missed: dict[str, list[str]] = {}
    for question, wanted in QUESTIONS.items():
        await page.fill("#search-field", question)
        links = await page.eval_on_selector_all("#search-results a", "all => all.map(a => a.getAttribute('href'))")
        if not any(link == wanted or link.partition("#")[0] == wanted for link in links[:3]):
            missed[question] = links[:3]
    assert missed == {}, json.dumps(missed, indent=1)


async def test_the_box_of_every_page_leads_to_the_search(page: Page) -> None:
    await page.goto((SITE / "stores.html").as_uri())
    await page.fill(".sidebar-search", "postgres")
    await page.press(".sidebar-search", "Enter")
    await page.wait_for_selector("#search-results a")
    assert "postgres" in page.url
    await page.fill("#search-field", "zzzzqqq")
    assert await page.inner_text("#search-count") == "0 results for “zzzzqqq”"


async def test_a_console_block_is_copied_without_its_prompts(page: Page) -> None:
    await page.goto((SITE / "index.html").as_uri())
    block = page.locator("div.highlight-console", has_text="pip install")
    await block.hover()
    await block.locator("button.copybtn").click()
    await page.focus(".sidebar-search")
    await page.keyboard.press("Control+V")
    assert await page.input_value(".sidebar-search") == "python -m pip install . && python -m SlyAPI demo"
