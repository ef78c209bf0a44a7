"""Whether and how a browser is opened: decided from the environment, done in a child that cannot disturb us."""
from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI.errors import ConfigError
from SlyAPI.redirect.browser import (
    NoBrowser,
    Opener,
    checked_url,
    creation_flags,
    how_to_open,
    open_browser,
    ssh_hint,
)

URL = "https://auth.example/authorize?client_id=a&scope=b%20c&state=d"
SSH = {"SSH_CONNECTION": "192.0.2.7 50000 192.0.2.9 22"}
X11 = {"DISPLAY": ":0"}
WSL = "Linux version 5.15.167.4-microsoft-standard-WSL2"
posix = pytest.mark.skipif(os.name != "posix", reason="POSIX sessions and scripts")


def _first(how: Opener | NoBrowser) -> str:
    assert isinstance(how, Opener)
    return how.commands[0][0]


@pytest.mark.parametrize(
    ("environ", "platform", "proc_version", "first"),
    [
        (X11, "linux", "", "xdg-open"),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", "", "xdg-open"),
        (X11 | SSH, "linux", "", "xdg-open"),
        ({}, "darwin", "", "/usr/bin/open"),
        ({}, "win32", "", r"C:\Windows\System32\rundll32.exe"),
        ({}, "linux", WSL, "rundll32.exe"),
        ({"BROWSER": "firefox"}, "linux", "", "firefox"),
        ({"BROWSER": "firefox"} | SSH, "linux", WSL, "firefox"),
        ({"BROWSER": "w3m:firefox"}, "linux", "", "firefox"),
    ],
)
def test_the_environment_says_what_opens_a_browser(
    environ: dict[str, str], platform: str, proc_version: str, first: str
) -> None:
    assert _first(how_to_open(environ, platform, proc_version)) == first


@pytest.mark.parametrize(
    ("environ", "platform", "proc_version", "reason"),
    [
        ({}, "linux", "", "no display"),
        ({"BROWSER": " "}, "linux", "", "no display"),
        ({"container": "podman"}, "linux", "", "container"),
        (SSH, "linux", "", "ssh"),
        ({"SSH_TTY": "/dev/pts/0"}, "linux", "", "ssh"),
        (SSH, "darwin", "", "ssh"),
        (SSH, "linux", WSL, "ssh"),
        ({"BROWSER": "w3m"} | X11, "linux", "", "text browser"),
        ({"BROWSER": "/usr/bin/lynx -nopause %s"}, "linux", "", "text browser"),
    ],
)
def test_where_no_browser_can_be_opened_the_reason_is_told(
    environ: dict[str, str], platform: str, proc_version: str, reason: str
) -> None:
    how = how_to_open(environ, platform, proc_version)
    assert isinstance(how, NoBrowser)
    assert how.reason == reason
    assert how.text.endswith(".")


@pytest.mark.parametrize(
    ("browser", "platform", "commands"),
    [
        ("a:b -x", "linux", (("a",), ("b", "-x"))),
        ("'/my tools/open' --url=%s &", "linux", (("/my tools/open", "--url=%s"),)),
        ("it's", "linux", (("it's",),)),
        (r'"C:\Program Files\b.exe" -new;D:\c.exe', "win32", ((r"C:\Program Files\b.exe", "-new"), (r"D:\c.exe",))),
    ],
)
def test_the_browser_variable_may_hold_several_commands(
    browser: str, platform: str, commands: tuple[tuple[str, ...], ...]
) -> None:
    assert how_to_open({"BROWSER": browser}, platform) == Opener(commands)


@given(st.dictionaries(st.sampled_from(["BROWSER", "DISPLAY", "SSH_CONNECTION", "container"]), st.text()))
def test_no_environment_raises(environ: dict[str, str]) -> None:
    for platform in ("linux", "win32", "darwin"):
        how_to_open(environ, platform)
    ssh_hint(environ, 8080)


@pytest.mark.parametrize(
    ("environ", "hint"),
    [
        (SSH | {"USER": "ada"}, "ssh -L 8080:localhost:8080 ada@192.0.2.9"),
        ({"SSH_CONNECTION": "::2%e 1 ::1%e 2222"}, "ssh -p 2222 -L 8080:localhost:8080 user@::1%e"),
        ({"SSH_TTY": "/dev/pts/0"}, "ssh -L 8080:localhost:8080 user@host"),
        ({"SSH_CONNECTION": "a 1 -oProxyCommand=x 22", "USER": "$(id)"}, "ssh -L 8080:localhost:8080 user@host"),
    ],
)
def test_the_hint_for_ssh_holds_what_is_known(environ: dict[str, str], hint: str) -> None:
    assert ssh_hint(environ, 8080) == hint


@pytest.mark.parametrize(
    "url",
    [
        "",
        "--flag",
        "-a https://auth.example",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "ftp://auth.example",
        "auth.example",
        "http:auth.example",
        "https://",
        "https://:443/",
        "https://[::1",
        "https://auth.example/a b",
        " https://auth.example",
        "https://auth.example\n--flag",
        "https://auth.example/\x1b[2J",
        "https://auth.example/\u2028",
        'https://auth.example/"&calc',
        "https://auth.example/`id`",
        "https://auth.example\\@evil.example",
    ],
)
async def test_anything_but_a_plain_web_address_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        await open_browser(url, environ=_browser(tmp_path, "touch " + str(tmp_path / "ran")))
    assert not (tmp_path / "ran").exists()


@given(st.text().map("https://a.example/".__add__) | st.text())
def test_a_url_that_passes_holds_nothing_that_a_shell_runs(url: str) -> None:
    with suppress(ConfigError):
        assert not set(checked_url(url)) & set("\"'`$();|<>\\ \n\t")


def test_an_encoded_url_passes_as_it_is() -> None:
    assert checked_url(URL) == URL


def _browser(folder: Path, script: str) -> dict[str, str]:
    """An environment whose browser is a shell script."""
    file = folder / "my browser"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o700)
    return {**os.environ, "BROWSER": f"'{file}' %s"}


@posix
async def test_the_browser_gets_the_url_and_nothing_else(tmp_path: Path) -> None:
    environ = _browser(tmp_path, f'printf "%s\\n" "$#" "$1" > "{tmp_path}/got"')
    assert await open_browser(URL, environ=environ)
    assert (tmp_path / "got").read_text().splitlines() == ["1", URL]


@posix
async def test_a_browser_without_a_placeholder_gets_the_url_last(tmp_path: Path) -> None:
    environ = _browser(tmp_path, f'printf "%s\\n" "$@" > "{tmp_path}/got"')
    environ["BROWSER"] = environ["BROWSER"].replace("%s", "--new")
    assert await open_browser(URL, environ=environ)
    assert (tmp_path / "got").read_text().splitlines() == ["--new", URL]


@posix
async def test_a_browser_that_fails_gives_way_to_the_next_or_is_told(tmp_path: Path) -> None:
    environ = _browser(tmp_path, f'touch "{tmp_path}/ran"')
    assert await open_browser(URL, environ={**environ, "BROWSER": f"/nowhere/b:false:{environ['BROWSER']}"})
    assert (tmp_path / "ran").exists()
    assert not await open_browser(URL, environ={**environ, "BROWSER": f"/nowhere/b:false:{tmp_path}"})


async def test_no_browser_is_no_error() -> None:
    assert not await open_browser(URL, environ={"BROWSER": "w3m"})
    if sys.platform == "linux":
        assert not await open_browser(URL, environ=SSH)


@posix
async def test_a_browser_in_the_foreground_is_not_waited_for_and_lives_in_its_own_session(tmp_path: Path) -> None:
    environ = _browser(tmp_path, f'echo $$ > "{tmp_path}/new" && mv "{tmp_path}/new" "{tmp_path}/pid"\nexec sleep 60')
    assert await asyncio.wait_for(open_browser(URL, environ=environ, patience=0.2), 20)
    pid = await _read_when_there(tmp_path / "pid")
    try:
        assert os.getsid(pid) == pid != os.getsid(0)
    finally:
        os.kill(pid, signal.SIGKILL)


async def _read_when_there(path: Path) -> int:
    for _ in range(1000):
        if await asyncio.to_thread(path.exists):
            break
        await asyncio.sleep(0.02)
    return int(await asyncio.to_thread(path.read_text))


@pytest.fixture
def typed_ahead() -> Iterator[None]:
    """A line on our standard input that nobody has read yet."""
    before = os.dup(0)
    reading, writing = os.pipe()
    os.write(writing, b"typed\n")
    os.close(writing)
    os.dup2(reading, 0)
    os.close(reading)
    yield
    os.dup2(before, 0)
    os.close(before)


@posix
@pytest.mark.usefixtures("typed_ahead")
async def test_a_browser_reads_and_prints_nothing_of_ours(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    environ = _browser(tmp_path, f'cat > "{tmp_path}/in"; echo out; echo err >&2')
    assert await open_browser(URL, environ=environ)
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "in").read_bytes() == b""


# what a browser may not get or do


@posix
async def test_a_browser_gets_no_secret_from_our_environment(tmp_path: Path) -> None:
    environ = _browser(tmp_path, f'export -p > "{tmp_path}/got"')
    secrets = {"SLYAPI_STORE": "redis://:a-secret@host", "SLYAPI_STORE_KEYS": "k3y"}
    assert await open_browser(URL, environ=environ | secrets)
    got = (tmp_path / "got").read_text()
    assert "HOME" in got or "PATH" in got
    assert "a-secret" not in got
    assert "k3y" not in got


@posix
@pytest.mark.parametrize(
    "browser",
    ["sh -c 'echo %s > got'", "sh -c '\"echo\" \"%s\"'", "env -i /bin/bash -ec 'echo --url=%s'", "sh -c", "dash -c %s"],
)
@pytest.mark.parametrize("url", ["https://a.example/?a&touch%20ran", "https://a.example/?a=1&id&b", "https://a.example/#*"])
async def test_a_shell_that_would_run_parts_of_the_url_is_not_a_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: str, url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    how = how_to_open({"BROWSER": browser}, "linux")
    assert isinstance(how, NoBrowser)
    assert how.reason == "shell"
    assert not await open_browser(url, environ={**os.environ, "BROWSER": browser})
    assert os.listdir() == []


@posix
async def test_a_shell_may_get_the_url_as_an_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert await open_browser(URL, environ={**os.environ, "BROWSER": "sh -c 'echo \"$1\" > got' sh %s"})
    assert (tmp_path / "got").read_text().strip() == URL


@posix
async def test_a_program_in_the_folder_at_hand_is_not_a_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "firefox").write_text("#!/bin/sh\ntouch ran\n")
    (tmp_path / "firefox").chmod(0o700)
    assert not await open_browser(URL, environ={"PATH": ".::bin", "BROWSER": "firefox"})
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "browser", ["cmd /c start %s", r"C:\tools\open.bat", "open.CMD %s", '"C:\\Windows\\System32\\cmd.exe" /c start']
)
def test_on_windows_what_cmd_would_read_is_not_a_browser(browser: str) -> None:
    assert isinstance(how_to_open({"BROWSER": browser}, "win32"), NoBrowser)


def test_on_windows_the_systems_own_program_is_run_by_its_whole_path() -> None:
    how = how_to_open({"SystemRoot": r"D:\Win"}, "win32")
    assert isinstance(how, Opener)
    assert how.commands[0][0] == r"D:\Win\System32\rundll32.exe"


def test_a_child_on_windows_has_no_console_of_ours() -> None:
    assert creation_flags("win32") == 0x208
    assert creation_flags("linux") == creation_flags("darwin") == 0
