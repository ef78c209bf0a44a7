"""The consent page in this machine's browser, whose redirect a listener on loopback receives (RFC 8252).

The rule: listen before the page opens; answer the browser once the login has ended, with what came of it.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from ...errors import (
    ConfigError,
    GrantTimeoutError,
    MissingExtraError,
    RedirectError,
    SlyError,
    StateMismatchError,
    clean_traceback,
)
from ...redirect.browser import open_browser
from ...redirect.loopback import Loopback, Redirect, page
from ...web.next_steps import PROGRAM
from ...web.urls import redirect_pairs
from ..client.login import Login
from ..messages.authorization_code import read_redirect
from ..messages.signed_response import check_unverified_state, response_in

REDIRECT_URI = "http://127.0.0.1:0/"
"""Any free port."""
TIMEOUT = 300.0
"""Seconds in which a person answers the consent page."""


class BrowserConsent:
    """A listener at `redirect_uri`, which `ask` needs for the login that it shows."""

    __module__ = "SlyAPI.oauth2"

    def __init__(self, loopback: Loopback) -> None:
        self.redirect_uri: str = loopback.redirect_uri
        self._loopback = loopback
        self._answered: Redirect | None = None

    @clean_traceback
    async def ask(self, login: Login) -> str:
        """Opens the login's page, and gives the redirect that answers it, for `finish_login`.

        Raises `ConfigError` where no browser can be opened, `GrantTimeoutError` after five minutes.
        """
        if not await open_browser(login.url):
            raise ConfigError(
                "A person has to consent, and no browser can be opened here.",
                next_step=f"Run {PROGRAM} grant, which also takes a pasted address, or give consent=.",
            )
        with suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT):
                async for redirect in self._loopback.redirects():
                    if not _is_strange(redirect, login.state):
                        self._answered = redirect
                        return f"{self.redirect_uri}?{redirect.query}"
                    await redirect.answer(400, page("Not connected", "This page is of another attempt.", ok=False))
        raise GrantTimeoutError(f"Nobody answered the consent page within {TIMEOUT:g} s.", next_step="Try again.")

    async def _end(self, error: SlyError | None) -> None:
        """Answers the browser that waits."""
        if self._answered is not None:
            if error is None:
                await self._answered.answer(200, page("Connected", "You can close this page.", ok=True))
            else:
                details = str(error)
                await self._answered.answer(400, page("Not connected", "Nothing was saved.", ok=False, details=details))


def _is_strange(redirect: Redirect, state: str) -> bool:
    """Whether the redirect is of another attempt, which must not end this one."""
    try:
        if "response" in dict(redirect_pairs(redirect.query)):  # JARM; the login verifies the signature
            check_unverified_state(response_in(redirect.query, state), state)
        else:
            read_redirect(redirect.query, state=state)
    except (StateMismatchError, MissingExtraError):
        return True  # without the package nobody asked for a signed response
    except RedirectError:
        return False  # of this attempt: the login reads it again and says what is wrong
    return False


@asynccontextmanager
async def browser_consent(redirect_uri: str | None = None) -> AsyncGenerator[BrowserConsent, None]:
    """Listens at the redirect URI (None: any free port of 127.0.0.1) while the block runs (RFC 8252 §7.3).

    At the block's end the browser shows that the login succeeded, or the block's `SlyError`. Raises `ListenError`,
    `ConfigError`.
    """
    async with await Loopback.open(redirect_uri or REDIRECT_URI) as loopback:
        consent = BrowserConsent(loopback)
        try:
            yield consent
        except SlyError as error:
            await consent._end(error)
            raise
        await consent._end(None)
