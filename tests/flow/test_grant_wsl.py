"""Under WSL without a browser the person is told what to do in Windows, and which line to type."""
from __future__ import annotations

import pytest

from SlyAPI import OAuth2App, OAuth2User
from SlyAPI.errors import GrantTimeoutError
from SlyAPI.flow.console import Console
from SlyAPI.flow.grant import GrantOptions, grant
from SlyAPI.redirect.browser import Machine


class Listener(Console):
    """Remembers what it is told to say."""

    def __init__(self) -> None:
        super().__init__()
        self.said = ""

    def say(self, *lines: str, heading: str = "") -> None:
        self.said += "\n".join(lines) + "\n"


async def never(user: OAuth2User) -> None:
    raise AssertionError(f"{user} was saved")


async def no_browser(url: str) -> bool:
    return False


async def test_the_line_to_type_is_shown() -> None:
    app = OAuth2App("id", None, "https://provider.example/auth", "https://provider.example/token")
    console = Listener()
    wsl = Machine({}, "linux", "Linux version 5.15 microsoft-standard-WSL2")
    options = GrantOptions(redirect_uri="http://127.0.0.1:0", timeout=0.2, open_page=no_browser, machine=wsl)
    with pytest.raises(GrantTimeoutError):
        await grant(app, ["a"], options, console, never)
    assert "browser of Windows" in console.said
    assert "    --paste" in console.said
