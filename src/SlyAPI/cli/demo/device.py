"""The second act of the demo: a login on another device, and a token of the program itself.

The rule: each line is printed after its step has happened, as in the first act.
"""

from dataclasses import replace
from pathlib import Path

from ...flow.console import Console
from ...flow.grant import GrantOptions
from ...flow.wizard import grant_to_file
from ...json_file import display_path, write_json_file
from ...oauth2 import ClientCredentials, OAuth2App
from ...testing import PracticeProvider
from ...webapi.webapi import WebAPI

SCOPES = ["weather.read"]
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
    await grant_to_file(app, device, SCOPES, options, console if by_person else silent)
    console.say(f"   wrote {display_path(device)}: a person's tokens, without a browser on this machine.")
    machine = here / "machine.json"
    await grant_to_file(app, machine, SCOPES, GrantOptions(way="machine"), silent)
    console.say(
        f"   wrote {display_path(machine)}: a token of the program itself, without a user's consent.",
        heading="7. grant --client-credentials",
    )
    async with WebAPI(ClientCredentials(app, SCOPES, machine)) as weather:
        weather.base_url = provider.api_url
        day = (await weather.get_json("/forecast"))["days"][0]
    console.say(
        f"   GET /api/forecast: {day['day']} {day['sky']}, {day['celsius']} degrees", heading="8. a signed call"
    )
