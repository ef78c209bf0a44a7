"""`python -m SlyAPI demo`: scaffold, grant and calls by the real code, against the built-in practice provider.

The rule: each line is printed after its step has happened.
"""

import asyncio
import errno
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

from ...errors import ConfigError, SaveError
from ...flow.console import Console
from ...flow.grant import GrantOptions
from ...flow.scaffold import ScaffoldOptions, client_json, write_client
from ...flow.signals import run
from ...flow.wizard import grant_to_file
from ...json_file import display_path, write_json_file
from ...json_file.windows import WINDOWS
from ...oauth2 import ClientCredentials, OAuth2, OAuth2App
from ...redirect.browser import Opener, how_to_open, open_browser, proc_version
from ...testing import GRANT_TYPES, PracticeProvider, keep
from ...web.next_steps import PYTHON, command, quoted
from ...webapi.webapi import WebAPI

TOKEN_LIFETIME = 3.0
"""Seconds; short, so that the demo shows a refresh."""
SCOPES = ["weather.read", "notes"]

_SCRIPT = '''\
"""A client of the practice weather API, with the grant of the demo. Run it as often as you like."""

import asyncio
from pathlib import Path

from SlyAPI import OAuth2, WebAPI
from SlyAPI.testing import kept_provider

HERE = Path(__file__).parent


class Weather(WebAPI):
    base_url = "{origin}"

    async def forecast(self) -> dict:
        return await self.get_json("/api/forecast")


async def main() -> None:
    async with kept_provider(HERE / "provider.json"):  # the practice provider, with its saved state
        weather = Weather(OAuth2(HERE / "app.json", HERE / "user.json"))
        for day in (await weather.forecast())["days"]:
            print(day["day"], day["sky"], day["celsius"])


asyncio.run(main())
'''


def demo(args: Any, console: Console) -> int:
    """Runs the demo."""
    run(_demo(console, folder=args.folder, browser=not args.no_browser, device=args.device))
    return 0


async def _demo(console: Console, *, folder: str | None = None, browser: bool = True, device: bool = False) -> None:
    """Scaffold, grant, a signed call, the expiry, a refreshed call, in `folder`; `device` adds a second act."""
    here = _new_folder(folder)
    console.status = f"The files made so far are in {display_path(here)}."
    by_person = browser and isinstance(how_to_open(os.environ, sys.platform, proc_version()), Opener)
    secret = secrets.token_urlsafe(24)
    provider = PracticeProvider(
        client_name="SlyAPI demo",
        client_secret=secret,
        redirect_uris=["http://127.0.0.1"],
        access_token_lifetime=TOKEN_LIFETIME,
        consent="ask" if by_person else "allow",
        grant_types=GRANT_TYPES if device else GRANT_TYPES[:2],
        device_interval=INTERVAL,
    )
    async with provider.running() as origin:
        line = f"   runs on {origin}: PKCE is required, codes work once, refresh tokens rotate."
        console.say(line, heading="1. A practice provider")
        app = _scaffold(here, origin, secret, console)
        await _grant(app, here, provider, console, by_person=by_person)
        await _call(here, origin, console)
        if device:
            await second_act(app, here, provider, console, _Silent(), by_person=by_person)
        _write_script(here, provider, origin)
    console.say(
        f"    {PYTHON} {quoted(display_path(here / 'weather.py'))}",
        f"    {command('show', display_path(here / 'user.json'))}",
        heading="Try the files (the practice provider has stopped; weather.py starts it again):",
    )


def _write_script(here: Path, provider: PracticeProvider, origin: str) -> None:
    """Writes the program to try, and the provider that it starts again. Raises `SaveError`."""
    try:
        keep(provider, here / "provider.json")
        (here / "weather.py").write_text(_SCRIPT.format(origin=origin), encoding="utf-8")
        return
    except OSError as error:
        problem, full = error.strerror, error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    step = "Free some space." if full else "Give another --folder."
    raise SaveError(f"A file in {display_path(here)} could not be written ({problem}).", next_step=step)


def _is_empty(folder: Path) -> bool:
    try:
        return folder.is_dir() and not any(folder.iterdir())
    except OSError:  # nobody may look into it
        return False


def _new_folder(folder: str | None) -> Path:
    """The folder for the files: the given one, or a new `slyapi-demo` here. Raises `ConfigError`."""
    names = [folder] if folder else ["slyapi-demo", *(f"slyapi-demo-{n}" for n in range(2, 1000))]
    for name in names:
        here = Path(name)
        try:
            here.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            if folder and _is_empty(here):
                return here
            continue
        except OSError as error:
            problem, step = error.strerror, "Give another --folder."
            raise ConfigError(f"Cannot make the folder {display_path(name)} ({problem}).", next_step=step) from None
        return here
    taken = f"The folder {display_path(names[0])} exists and is not empty."
    raise ConfigError(taken, next_step="Give another --folder.")


def _scaffold(here: Path, origin: str, secret: str, console: Console) -> OAuth2App:
    given: dict[str, Any] = {"id": "practice-client", "secret": secret}
    given |= {"auth_uri": f"{origin}/authorize", "token_uri": f"{origin}/token", "redirect_uri": "http://127.0.0.1:0"}
    write_client(here / "app.json", client_json(ScaffoldOptions(given=given)), force=False)
    console.say(f"   wrote {display_path(here / 'app.json')}: who the program is.", heading="2. scaffold")
    return OAuth2App.from_json_file(here / "app.json")


async def _grant(app: OAuth2App, here: Path, provider: PracticeProvider, console: Console, *, by_person: bool) -> None:
    visits: list[asyncio.Task[None]] = []

    async def open_page(url: str) -> bool:
        if by_person and await open_browser(url):
            return True
        if by_person:
            console.say("   No browser could be started, so the demo consents by itself.")
        provider.consent = "allow"
        visits.append(asyncio.create_task(_visit(url)))
        return not by_person

    console.say(heading="3. grant")
    if by_person:
        console.say("   Consent on the practice provider's page in your browser (press Allow).")
        messages = console
    else:
        console.say("   There is no browser, so the demo consents by itself.")
        messages = _Silent()
    options = GrantOptions(open_page=open_page, timeout=300 if by_person else 10)
    await grant_to_file(app, here / "user.json", SCOPES, options, messages)
    await asyncio.gather(*visits)
    mode = "" if WINDOWS else ", which only you can read"
    console.say(f"   wrote {display_path(here / 'user.json')}: one user's tokens{mode}.")


class _Silent(Console):
    """Says and asks nothing: the demo prints its own lines."""

    @property
    def interactive(self) -> bool:
        return False

    def say(self, *lines: str, heading: str = "") -> None:
        pass

    @property
    def shows_progress(self) -> bool:
        return False

    def show_picture(self, lines: Sequence[str]) -> bool:
        return False


async def _visit(url: str) -> None:
    """Follows the redirects of a provider that consents by itself, as a browser does."""
    async with aiohttp.ClientSession() as visitor, visitor.get(url) as page:
        await page.read()


class _Weather(WebAPI):
    async def forecast(self) -> str:
        day = (await self.get_json("/api/forecast"))["days"][0]
        return f"{day['day']} {day['sky']}, {day['celsius']} degrees"


async def _call(here: Path, origin: str, console: Console) -> None:
    refreshed: list[object] = []
    auth = OAuth2(here / "app.json", here / "user.json", on_refresh=refreshed.append)
    async with _Weather(auth) as weather:
        weather.base_url = origin
        console.say(f"   GET /api/forecast: {await weather.forecast()}", heading="4. a signed call")
        console.say(f"   Waiting {TOKEN_LIFETIME:g} s for the access token to expire ...")
        await asyncio.sleep(TOKEN_LIFETIME)
        console.say(f"   GET /api/forecast: {await weather.forecast()}", heading="5. the same call")
    if refreshed:
        console.say("   The token was refreshed before the call, and user.json contains the new one.")


SECOND_SCOPES = ["weather.read"]
INTERVAL = 0.5
"""Seconds between two questions of the device."""


async def second_act(
    app: OAuth2App, here: Path, provider: PracticeProvider, console: Console, silent: Console, *, by_person: bool
) -> None:
    """Grants by a device's code, then a machine's token and a call with it; `silent` prints nothing."""
    app = replace(app, device_uri=f"{provider.origin}/device_authorization")
    write_json_file(here / "app.json", app.to_dict())
    console.say(heading="6. grant --device")
    provider.consent = "ask" if by_person else "allow"
    if not by_person:
        console.say("   There is no browser, so the demo consents by itself.")
    options = GrantOptions(way="device", device_timeout=300.0 if by_person else 10.0)
    device = here / "device-user.json"
    await grant_to_file(app, device, SECOND_SCOPES, options, console if by_person else silent)
    console.say(f"   wrote {display_path(device)}: a person's tokens, without a browser on this machine.")
    machine = here / "machine.json"
    await grant_to_file(app, machine, SECOND_SCOPES, GrantOptions(way="machine"), silent)
    console.say(
        f"   wrote {display_path(machine)}: a token of the program itself, without a user's consent.",
        heading="7. grant --client-credentials",
    )
    async with WebAPI(ClientCredentials(app, SECOND_SCOPES, machine)) as weather:
        weather.base_url = provider.api_url
        day = (await weather.get_json("/forecast"))["days"][0]
    console.say(
        f"   GET /api/forecast: {day['day']} {day['sky']}, {day['celsius']} degrees", heading="8. a signed call"
    )
