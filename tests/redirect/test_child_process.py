"""Programs that are started, on each system: which file is run, and what it learns."""
from __future__ import annotations

import pytest

from SlyAPI.redirect.browser import child_environment, find_program


def test_a_child_gets_the_environment_without_what_is_ours() -> None:
    environ = {"PATH": "/bin", "SLYAPI_STORE_KEYS": "k3y", "slyapi_store": "redis://", "GIT_DIR": "/x", "HOME": "/root"}
    assert child_environment(environ) == {"PATH": "/bin", "GIT_DIR": "/x", "HOME": "/root"}
    assert child_environment(environ, "GIT_") == {"PATH": "/bin", "HOME": "/root"}


def test_a_child_of_a_frozen_program_gets_the_library_path_of_before() -> None:
    frozen = {"PATH": "/bin", "_PYI_ARCHIVE_FILE": "/opt/app", "LD_LIBRARY_PATH": "/tmp/_MEI1:/opt/lib"}
    rest = {"PATH": "/bin", "_PYI_ARCHIVE_FILE": "/opt/app"}
    assert child_environment(frozen) == rest
    before = {"LD_LIBRARY_PATH": "/opt/lib"}
    assert child_environment(frozen | {"LD_LIBRARY_PATH_ORIG": "/opt/lib"}) == rest | before
    assert child_environment({"PATH": "/bin"} | before) == {"PATH": "/bin"} | before


@pytest.mark.parametrize(
    ("platform", "path", "name", "found"),
    [
        ("linux", "/usr/bin:/bin", "git", "/usr/bin/git"),
        ("linux", ":.:bin:/usr/bin", "git", "/usr/bin/git"),
        ("linux", ".:", "git", None),
        ("linux", "", "/opt/my/git", "/opt/my/git"),
        ("linux", "", "./git", "./git"),
        ("darwin", "/opt/homebrew/bin:/usr/bin", "git", "/opt/homebrew/bin/git"),
        ("win32", r".;C:\Git\cmd", "git", r"C:\Git\cmd\git.exe"),
        ("win32", r";bin;C:\Git\cmd", "git.exe", r"C:\Git\cmd\git.exe"),
        ("win32", ".", "git", None),
        ("win32", "", r"D:\b.exe", r"D:\b.exe"),
    ],
)
def test_a_program_is_found_in_whole_folders_alone(platform: str, path: str, name: str, found: str | None) -> None:
    def is_program(path: str) -> bool:
        return path.startswith(("/", "C:"))  # every absolute one

    # and every one of the folder at hand, were it asked
    assert find_program(name, {"PATH": path}, platform, is_program) == found


def test_a_program_that_is_not_there_is_none() -> None:
    assert find_program("git", {"PATH": "/absent"}, "linux") is None
    assert find_program("git", {}, "linux") is None
