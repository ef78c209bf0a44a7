"""Without joserfc the provider serves all that needs no signatures, and names the package for the rest."""
from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, sys
sys.modules["joserfc"] = None
import aiohttp
from SlyAPI.testing import GRANT_TYPES, PracticeProvider

async def main():
    provider = PracticeProvider(grant_types=GRANT_TYPES, client_secret="s", registration=True, resource_metadata="path")
    async with provider.running() as origin, aiohttp.ClientSession() as http:
        async with http.get(origin + "/.well-known/oauth-authorization-server") as reply:
            print(*(await reply.json())["token_endpoint_auth_methods_supported"])
        form = {"grant_type": "client_credentials", "client_id": "practice-client", "client_secret": "s"}
        async with http.post(origin + "/token", data=form) as reply:
            print(reply.status)
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


def test_a_machine_has_its_token_without_joserfc() -> None:
    done = run(PROGRAM + "asyncio.run(main())")
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["client_secret_basic client_secret_post none", "200"]


@pytest.mark.parametrize("setting", ["openid=True", "dpop='allowed'"])
def test_a_setting_that_needs_signatures_names_the_package(setting: str) -> None:
    done = run(f"{PROGRAM}PracticeProvider({setting})")
    assert "ModuleNotFoundError" in done.stderr
    assert "pip install joserfc" in done.stderr


def test_joserfc_is_imported_where_it_is_used() -> None:
    program = "import sys, SlyAPI.testing; SlyAPI.testing.PracticeProvider(); print('joserfc' in sys.modules)"
    assert run(program).stdout == "False\n"
