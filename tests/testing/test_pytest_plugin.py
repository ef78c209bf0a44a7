"""The pytest plugin as another project has it: by its entry point, in a pytest of its own."""
from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.installed import installed_at

pytestmark = pytest.mark.slow

LOOPS = ("-o", "asyncio_default_fixture_loop_scope=function")
AUTO = (*LOOPS, "-o", "asyncio_mode=auto")
STRICT = (*LOOPS, "-o", "asyncio_mode=strict")
NO_ASYNCIO = ("-p", "no:asyncio")
ASYNC_TEST = """
    async def test_a_signed_call(signed_client):
        assert (await signed_client.get_json("/forecast"))["city"] == "Bergen"
"""
MARKED = f"""
    import pytest

    @pytest.mark.asyncio{ASYNC_TEST.replace("    async", "    async", 1)}
"""
SYNC_TEST = """
    import asyncio

    def test_a_signed_call_of_a_program_with_its_own_loop(signed_client):
        assert asyncio.run(signed_client.get_json("/forecast"))["city"] == "Bergen"
"""
RunPytest = Callable[..., None]


@pytest.fixture
def run_pytest(tmp_path: Path) -> RunPytest:
    """Runs pytest on a test file and a conftest, with SlyAPI installed: `run(tests, *arguments, passed=3, error=1)`."""
    project, installed = tmp_path / "project", tmp_path / "installed"
    project.mkdir()
    env = installed_at(installed)

    def run(tests: str, *arguments: str, conftest: str = "", before: str = "", **expected: int) -> None:
        (project / "test_it.py").write_text(dedent(tests))
        (project / "conftest.py").write_text(dedent(conftest))
        start = f"import sys\n{before}\nimport pytest\nsys.exit(pytest.main(sys.argv[1:]))"
        words = [sys.executable, "-c", start, "-q", "-p", "no:cacheprovider", "--strict-markers", "-W", "error"]
        ran = subprocess.run(
            [*words, *arguments], cwd=project, env=env, capture_output=True, text=True, timeout=120
        )
        last = (ran.stdout.splitlines() or [""])[-1]
        ended = {kind: int(number) for number, kind in re.findall(r"(\d+) (passed|failed|error)", last)}
        assert ended == expected, ran.stdout + ran.stderr

    return run


@pytest.mark.parametrize(
    ("tests", "arguments"),
    [
        (ASYNC_TEST, AUTO),
        (MARKED, STRICT),
        (SYNC_TEST, AUTO),
        (SYNC_TEST, STRICT),
        (SYNC_TEST, NO_ASYNCIO),
        (SYNC_TEST, (*AUTO, "-p", "no:anyio", "-p", "no:hypothesispytest", "-p", "no:xdist")),
    ],
    ids=["auto", "strict", "synchronous in auto", "synchronous in strict", "without asyncio", "without others"],
)
def test_a_signed_client_works_in_every_mode(run_pytest: RunPytest, tests: str, arguments: tuple[str, ...]) -> None:
    run_pytest(tests, *arguments, passed=1)


def test_the_plugin_can_be_switched_off(run_pytest: RunPytest) -> None:
    tests = """
        import sys

        def test_nothing_of_it_is_loaded():
            assert not [name for name in sys.modules if name.startswith("SlyAPI")]

        def test_its_fixtures_are_not_there(practice_provider):
            pass
    """
    run_pytest(tests, *AUTO, "-p", "no:slyapi", passed=1, error=1)


def test_a_start_of_pytest_loads_four_small_modules_and_no_library(run_pytest: RunPytest) -> None:
    tests = """
        import sys

        def test_what_is_loaded():
            ours = {name for name in sys.modules if name.partition(".")[0] == "SlyAPI"}
            assert ours == {"SlyAPI", "SlyAPI.names", "SlyAPI.testing", "SlyAPI.testing.pytest_plugin"}
            assert not sys.modules.keys() & {"aiohttp", "yarl", "joserfc", "cryptography"}
    """
    run_pytest(tests, *NO_ASYNCIO, passed=1)


def test_a_program_that_imported_the_package_may_start_pytest(run_pytest: RunPytest) -> None:
    run_pytest(ASYNC_TEST, *AUTO, before="import SlyAPI", passed=1)


def test_the_clock_moves_the_provider_and_the_client(run_pytest: RunPytest) -> None:
    tests = """
        import time

        async def test_a_token_expires(signed_client, practice_provider, practice_clock):
            assert abs(practice_clock() - time.time()) < 5
            practice_clock.advance(3599)
            assert signed_client.auth.due
            await signed_client.get_json("/forecast")
            assert practice_provider.refreshes == 1
            practice_clock.advance(3601)
            await signed_client.get_json("/forecast")
            assert [seen.outcome for seen in practice_provider.log] == ["ok"] * 4
    """
    run_pytest(tests, *AUTO, passed=1)


def test_a_projects_own_fixture_named_clock_stays_its_own(run_pytest: RunPytest) -> None:
    conftest = """
        import pytest

        @pytest.fixture
        def clock():
            return "on the wall"
    """
    tests = """
        async def test_both(clock, signed_client):
            assert clock == "on the wall"
            await signed_client.get_json("/forecast")
    """
    run_pytest(tests, *AUTO, conftest=conftest, passed=1)


def test_a_marker_sets_up_the_provider_and_the_nearest_one_counts(run_pytest: RunPytest) -> None:
    tests = """
        import pytest

        pytestmark = pytest.mark.practice_provider(people=["Ada"], access_token_lifetime=60.0)

        async def test_of_the_module(signed_client, granted_user, practice_clock):
            assert (await signed_client.get_json("/me"))["name"] == "Ada"
            assert granted_user.expires_at.timestamp() < practice_clock() + 61

        @pytest.mark.practice_provider(people=["Robin"])
        async def test_of_the_test(signed_client):
            assert (await signed_client.get_json("/me"))["name"] == "Robin"

        @pytest.mark.practice_provider(humour="dry")
        async def test_a_setting_that_does_not_exist(practice_provider):
            pass

        @pytest.mark.practice_provider("Robin")
        async def test_a_setting_without_a_name(practice_provider):
            pass
    """
    run_pytest(tests, *AUTO, passed=2, error=2)


def test_a_fault_that_no_request_met_fails_the_test_at_its_end(run_pytest: RunPytest) -> None:
    tests = """
        import pytest

        from SlyAPI import ApiError

        async def test_which_never_asks_for_notes(signed_client, practice_provider):
            practice_provider.fail_next("api/notes", 503)
            await signed_client.get_json("/forecast")

        async def test_of_an_outage_that_lasts(signed_client, practice_provider):
            practice_provider.fail_next("api", 404, times=1000)
            with pytest.raises(ApiError):
                await signed_client.get_json("/notes")
    """
    run_pytest(tests, *AUTO, passed=2, error=1)


def test_a_test_leaves_neither_a_thread_nor_its_tokens(run_pytest: RunPytest) -> None:
    tests = """
        import threading

        seen = []

        async def test_one(signed_client, granted_user):
            await signed_client.get_json("/forecast")
            seen.append(granted_user.token)

        async def test_two(granted_user):
            assert granted_user.token not in seen

        def test_three():
            assert "SlyAPI.testing" not in [thread.name for thread in threading.enumerate()]
    """
    run_pytest(tests, *AUTO, passed=3)


def test_tests_in_several_processes_have_a_provider_each(run_pytest: RunPytest) -> None:
    tests = """
        import pytest

        @pytest.mark.parametrize("number", range(6))
        async def test_one_note(signed_client, number):
            assert (await signed_client.post_json("/notes", json={"text": str(number)}))["id"] == 1
    """
    run_pytest(tests, *AUTO, "-n", "2", passed=6)
