"""Opens a URL in the user's browser, in a child process that can neither block nor print into this one.

The rule: a pure function of the environment decides which command to run; a missing browser is not an error.
"""

from __future__ import annotations

import asyncio
import ntpath
import os
import posixpath
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from ..errors import ConfigError, printable

_TEXT_BROWSERS = {"w3m", "lynx", "links", "links2", "elinks", "browsh", "www-browser", "carbonyl"}
_ON_LINUX = ("xdg-open", "x-www-browser", "firefox", "google-chrome", "chromium", "chromium-browser")
_SHELLS = {"sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish", "csh", "tcsh"}
_RUNDLL = ("url.dll,FileProtocolHandler", "%s")
_PATIENCE = 2.0
_GLANCE = 0.05

# RFC 3986 §2: the characters of a URI. No double quote, space, backslash, control or non-ASCII character.
_URL = re.compile(r"https?://[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+", re.IGNORECASE)
# The same URL for a server, and harmless in a launcher that is a shell script (xdg-open, wslview).
_SHELL_SAFE = str.maketrans({"$": "%24", "'": "%27", "(": "%28", ")": "%29", ";": "%3B"})


@dataclass(frozen=True)
class Opener:
    """Commands to try in this order; `%s` in a word stands for the URL, else the URL is the last word."""

    commands: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class NoBrowser:
    """Why no browser can be opened; `text` completes a sentence such as "No browser was opened: ..."."""

    reason: Literal["ssh", "container", "no display", "text browser", "shell"]
    text: str


def how_to_open(environ: Mapping[str, str], platform: str, proc_version: str = "") -> Opener | NoBrowser:
    """The commands that open a browser, $BROWSER first, or why there are none; /proc/version shows WSL."""
    if chosen := environ.get("BROWSER", "").strip():
        return _chosen(chosen, platform)
    display = environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")
    if (environ.get("SSH_CONNECTION") or environ.get("SSH_TTY")) and not display:
        return NoBrowser("ssh", "this is a remote machine (SSH).")
    if platform == "win32":
        system = ntpath.join(environ.get("SystemRoot") or r"C:\Windows", "System32")
        return Opener(((ntpath.join(system, "rundll32.exe"), *_RUNDLL),))
    if platform == "darwin":
        return Opener((("/usr/bin/open",),))
    if "microsoft" in proc_version.lower():
        # wslview is not first: it passes the URL to PowerShell.
        windows = "/mnt/c/Windows/System32/rundll32.exe"
        return Opener((("rundll32.exe", *_RUNDLL), (windows, *_RUNDLL), ("wslview",), ("xdg-open",)))
    if not display:
        if any(environ.get(name) for name in ("container", "KUBERNETES_SERVICE_HOST", "REMOTE_CONTAINERS")):
            return NoBrowser("container", "this is a container.")
        return NoBrowser("no display", "this machine has no display (DISPLAY is not set).")
    return Opener(tuple((name,) for name in _ON_LINUX))


def _chosen(browsers: str, platform: str) -> Opener | NoBrowser:
    """The commands of $BROWSER, separated as in $PATH; a trailing `&` is dropped (all run in the background)."""
    windows = platform == "win32"
    commands: list[tuple[str, ...]] = []
    none = NoBrowser("text browser", "BROWSER names no program.")
    for command in browsers.split(";" if windows else ":"):
        try:
            words = [word for word in shlex.split(command, posix=not windows) if word != "&"]
        except ValueError:  # an open quote: take it as a path
            words = [command]
        if windows:
            words = [word.strip('"') for word in words]
        if not words:
            continue
        if ntpath.basename(words[0]).removesuffix(".exe") in _TEXT_BROWSERS:
            none = NoBrowser("text browser", f"{printable(words[0], 80)} needs this terminal for itself.")
        elif _is_shell_code(words, windows=windows):
            none = NoBrowser("shell", "BROWSER passes the address to a shell, which would run parts of it.")
        else:
            commands.append(tuple(words))
    return Opener(tuple(commands)) if commands else none


def _is_shell_code(words: list[str], *, windows: bool) -> bool:
    """Whether a shell parses the URL: an `&` in it would end the command and begin another one."""
    names = [ntpath.basename(word).lower() for word in words]
    if windows:  # cmd.exe runs batch files too, and parses their arguments
        return bool({"cmd", "cmd.exe"} & set(names)) or names[0].endswith((".bat", ".cmd"))
    if any("%s" in word and len(word.split()) > 1 for word in words):
        return True
    script = next((at + 1 for at, word in enumerate(words) if re.fullmatch(r"-[a-z]*c", word)), None)
    if script is None or not _SHELLS & set(names[:script]):
        return False
    return "%s" in "".join(words[script : script + 1] or ["%s"])


def ssh_hint(environ: Mapping[str, str], port: int) -> str:
    """The command for the user's own machine that forwards its `port` to this one, by SSH_CONNECTION."""
    user = environ.get("USER") or environ.get("LOGNAME") or ""
    user = user if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*", user) else "user"
    words = environ.get("SSH_CONNECTION", "").split()  # client address, its port, server address, its port
    host, ssh_port = (words[2], words[3]) if len(words) == 4 else ("host", "22")
    host = host if re.fullmatch(r"[A-Za-z0-9:.][A-Za-z0-9:.%_-]*", host) else "host"
    other = f"-p {ssh_port} " if ssh_port.isdecimal() and ssh_port != "22" else ""
    return f"ssh {other}-L {port}:localhost:{port} {user}@{host}"


def checked_url(url: str) -> str:
    """`url`, safe on a browser's command line. Raises `ConfigError` for anything but a plain http(s) URL."""
    try:
        good = _URL.fullmatch(url) is not None and bool(urlsplit(url).hostname)
    except ValueError:
        good = False
    if not good:
        raise ConfigError(
            f"Not opened in a browser, because it is not an http or https URL: {printable(url, 100)!r}.",
            next_step="Correct the auth_uri in the client file.",
        )
    return url.translate(_SHELL_SAFE)


async def open_browser(url: str, *, environ: Mapping[str, str] | None = None, patience: float = _PATIENCE) -> bool:
    """Opens `url` in the user's browser; False if there is none, or it failed within `patience` seconds.

    Does not wait longer for a browser that stays in the foreground. Raises `ConfigError` for a URL that is
    not http or https.
    """
    url = checked_url(url)
    environ = os.environ if environ is None else environ
    how = how_to_open(environ, sys.platform, proc_version())
    if isinstance(how, NoBrowser):
        return False
    for command in how.commands:
        child = _start(command, url, child_environment(environ))
        if child is not None and not await _exit_code(child, patience):
            return True
    return False


async def _exit_code(child: subprocess.Popen[bytes], patience: float) -> int | None:
    """The child's exit code, or None if it still runs after `patience` seconds."""
    for _ in range(round(patience / _GLANCE)):
        if child.poll() is not None:
            break
        await asyncio.sleep(_GLANCE)
    return child.poll()


def _start(command: tuple[str, ...], url: str, environ: dict[str, str]) -> subprocess.Popen[bytes] | None:
    """Starts one command in its own session, so that Ctrl-C in our terminal does not reach it."""
    words = [word.replace("%s", url) for word in command]
    if words == list(command):
        words.append(url)
    program = find_program(words[0], environ, sys.platform)
    if program is None:
        return None
    try:
        child = subprocess.Popen(
            [program, *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environ,
            start_new_session=True,
            creationflags=creation_flags(sys.platform),
        )
    except (OSError, ValueError):
        return None
    # Reaps the child whenever it exits: no zombie process, and no ResourceWarning.
    threading.Thread(target=child.wait, name="browser", daemon=True).start()
    return child


def creation_flags(platform: str) -> int:
    """How Windows starts a child without our console, so that Ctrl-C does not reach it; 0 elsewhere."""
    detached_process, create_new_process_group = 0x8, 0x200  # names that `subprocess` has on Windows alone
    return detached_process | create_new_process_group if platform == "win32" else 0


def proc_version() -> str:
    """The text of /proc/version, or ""."""
    try:
        return Path("/proc/version").read_text(errors="replace")
    except OSError:
        return ""


@dataclass(frozen=True)
class Machine:
    """The machine that the program runs on: environment, `sys.platform`, and the text of /proc/version."""

    environ: Mapping[str, str] = field(repr=False)
    platform: str
    proc_version: str = ""


def ways_to_a_browser(
    machine: Machine, port: int, port_asked: int | None, bind: str | None, *, wanted: bool
) -> list[str]:
    """Lines for the user; `port` is the listener's, `port_asked` and `bind` the flags; `wanted`: not `--no-browser`."""
    environ = {name: value for name, value in machine.environ.items() if wanted or name != "BROWSER"}
    how = how_to_open(environ, machine.platform, machine.proc_version)
    why, reason = (how.text, how.reason) if isinstance(how, NoBrowser) else ("none could be started.", "")
    lines = [f"No browser was opened: {why if wanted else 'as asked (--no-browser).'}"]
    if reason == "ssh":
        lines.append("To use the browser of your own machine, run there, before you open the page:")
        lines += ["", f"    {ssh_hint(environ, port)}", ""]
    elif not reason and "microsoft" in machine.proc_version.lower():
        lines.append(
            "This is WSL: open the page in a browser of Windows, which reaches localhost here. If the last page does "
            "not load there, run this command again with:"
        )
        lines += ["", "    --paste", ""]
    elif reason == "container" and bind is None:
        port = port_asked or 8080  # a free port chosen now is not known before the next start
        lines.append("To use a browser outside, start the container and this command again with:")
        lines += ["", f"    -p 127.0.0.1:{port}:{port}", f"    --bind 0.0.0.0 --port {port}", ""]
    return lines


def child_environment(environ: Mapping[str, str], *more_prefixes: str) -> dict[str, str]:
    """The environment without `SLYAPI_...`, whose values may be keys and passwords, and without `more_prefixes`.

    In a program frozen by PyInstaller, without the path of the program's own libraries, with which others fail.
    """
    hidden = tuple(prefix.upper() for prefix in ("SLYAPI_", *more_prefixes))
    kept = {name: value for name, value in environ.items() if not name.upper().startswith(hidden)}
    if "_PYI_ARCHIVE_FILE" in environ:  # PyInstaller 6; it keeps the value of before under another name
        before = environ.get("LD_LIBRARY_PATH_ORIG")
        kept = {name: value for name, value in kept.items() if not name.startswith("LD_LIBRARY_PATH")}
        kept |= {"LD_LIBRARY_PATH": before} if before is not None else {}
    return kept


def find_program(
    name: str, environ: Mapping[str, str], platform: str, is_program: Callable[[str], bool] | None = None
) -> str | None:
    """The path of a program in $PATH; None if there is none. A name with a folder in it stays as it is.

    Skips relative folders in $PATH; Windows would even search the current folder first. `platform` is `sys.platform`.
    """
    is_program = is_program or _is_program
    windows = platform == "win32"
    flavour = ntpath if windows else posixpath
    if flavour.dirname(name):
        return name
    endings = ("",) if not windows or name.lower().endswith((".exe", ".com")) else (".exe", ".com")
    for folder in environ.get("PATH", "").split(";" if windows else ":"):
        for ending in endings:
            path: str = flavour.join(folder, name + ending)
            if flavour.isabs(folder) and is_program(path):
                return path
    return None


def _is_program(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)
