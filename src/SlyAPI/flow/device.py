"""A grant on another device (RFC 8628): the address and the code are shown here, and the person consents there.

The rule: nothing is saved before the person has consented.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from ..errors import DeniedError, GrantTimeoutError, LoginEndedError, clean_traceback
from ..oauth2 import DeviceLogin, OAuth2App, OAuth2User
from .console import Console
from .grant import GrantOptions, Save
from .progress import Progress, waiting

Sleep = Callable[[float], Awaitable[object]]


@clean_traceback
async def grant_by_device(
    app: OAuth2App,
    scopes: list[str],
    options: GrantOptions,
    console: Console,
    save: Save[OAuth2User],
    *,
    clock: Callable[[], float] = time.time,
    sleep: Sleep = asyncio.sleep,
) -> OAuth2User:
    """The user, already saved; `clock` in epoch seconds. Raises `DeniedError`, `GrantTimeoutError`, `TokenError`."""
    async with waiting(console, "Asking for a code"):
        device = await app.begin_device(scopes)
    end = device.expires_at.timestamp()
    if options.device_timeout is not None:
        end = min(end, clock() + options.device_timeout)
    begin = clock()
    _show(device, console, end - begin)
    shown = Progress(console)

    async def wait(seconds: float) -> None:
        until = clock() + seconds
        while (left := until - clock()) > 0:
            if clock() >= end:
                raise LoginEndedError("")
            shown.show(f"{time_left(end - clock())} left", clock() - begin, end - begin)
            await sleep(min(1.0, left))

    try:
        with shown:
            user = await app.finish_device(device, token_params=options.token_params, clock=clock, sleep=wait)
    except LoginEndedError:
        raise GrantTimeoutError(
            "The code expired before anybody entered it.", next_step="Run grant again for a new code."
        ) from None
    except DeniedError as error:
        error.next_step = "Run it again to consent."
        raise
    user.client_auth = options.client_auth or user.client_auth
    await save(user)
    return user


def _show(device: DeviceLogin, console: Console, seconds: float) -> None:
    """What the person needs: the address, the code as it came, a QR code where the terminal can show one, the time."""
    console.say("", f"    {device.verification_uri}", "", heading="Open this page on any device, and enter the code:")
    console.say("", heading=f"    {device.user_code}")
    if device.verification_uri_complete is not None:
        console.show_picture(qr_lines(device.verification_uri_complete))
        console.say("Or open this page, where the code is filled in:", "", device.verification_uri_complete, "")
    console.say(f"The code is valid for {time_left(seconds)}. Waiting for your consent (Ctrl-C stops).")


def time_left(seconds: float) -> str:
    """Minutes and seconds, as a clock shows them."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02} min" if minutes else f"{rest} s"


_HALVES = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


def qr_lines(text: str) -> list[str]:
    """The QR code of a text, two rows of it in each line; empty without the package, or for too long a text."""
    try:
        import segno

        code = segno.make(text, error="l", micro=False)
    except (ImportError, ValueError):
        return []
    rows = [[bool(dark) for dark in row] for row in code.matrix_iter(border=2)]
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return ["".join(_HALVES[halves] for halves in zip(top, bottom, strict=True)) for top, bottom in pairs]
