"""Where subject tokens and assertions come from: an environment variable, a command, a file, a platform's own place.

Each function gives a callable for `TokenExchange`, `AssertionGrant` and a client's `client_assertion`, which call it
whenever they need a new token.
The rule: what was read is never printed, and an error names the place, not the content.
"""

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlencode

from .errors import BadReplyError, ConfigError, CredentialsError, clean_traceback, printable
from .json_file import StrPath, display_path, read_problem, read_regular
from .transport.requests import send
from .web.json import read_reply
from .web.messages import Method, Request
from .web.urls import check_endpoint

__all__ = ["Source", "from_command", "from_env", "from_file", "github_actions", "kubernetes"]

Source = Callable[[], str | Awaitable[str]]
"""Gives a token, as text."""
TokenLike = str | os.PathLike[str] | Source
"""A token as text, a file that somebody else renews, or a callable that gives one."""

KUBERNETES = "/var/run/secrets/kubernetes.io/serviceaccount/token"
COMMAND_TIMEOUT = 30.0
"""Seconds that a command may take."""
_LONGEST = 1 << 16


def from_env(name: str) -> Source:
    """The token in an environment variable. Its call raises `CredentialsError` where the variable is unset."""

    @clean_traceback
    def read() -> str:
        return _whole(os.environ.get(name, ""), f"The environment variable {printable(name, 80)}")

    return read


def from_file(path: StrPath) -> Source:
    """The token in a file that somebody else renews; its last line end is dropped. Raises `CredentialsError`."""

    @clean_traceback
    def read() -> str:
        try:
            text = read_regular(path).decode("ascii")
        except (OSError, ValueError) as error:
            why = "not text in ASCII" if isinstance(error, UnicodeError) else read_problem(error)
            raise CredentialsError(f"The token file {display_path(path)} cannot be read: {why}.") from None
        return _whole(text, f"The token file {display_path(path)}")

    return read


def kubernetes(path: StrPath = KUBERNETES) -> Source:
    """The token of the pod's service account, which Kubernetes renews at `path`."""
    return from_file(path)


@clean_traceback
def from_command(argv: Sequence[str], *, timeout: float = COMMAND_TIMEOUT) -> Source:
    """What a command prints on its stdout. It is run without a shell; `timeout` in seconds.

    Its call raises `CredentialsError` where the command fails; its stderr is shown to the person, not read.
    """
    if isinstance(argv, str) or not argv:
        raise ConfigError("from_command takes a list: the program and its arguments.")
    name = f"The command {printable(argv[0], 80)}"

    @clean_traceback
    async def read() -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
            )
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "its arguments cannot be passed"
            raise CredentialsError(f"{name} cannot be run: {why}.") from None
        except NotImplementedError:
            step = "On Windows that is asyncio.ProactorEventLoop, the usual one."
            raise ConfigError(f"{name} needs an event loop that can start programs.", next_step=step) from None
        try:
            async with asyncio.timeout(timeout):
                out, _ = await process.communicate()
        except TimeoutError:
            raise CredentialsError(f"{name} took longer than {timeout:g} s.", kind="transient") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise CredentialsError(f"{name} failed with exit code {process.returncode}.")
        return _whole(out.decode("ascii", "replace"), name)

    return read


def github_actions(audience: str) -> Source:
    """The OpenID token of a GitHub Actions job, for `audience`; the job needs the permission `id-token: write`.

    Its call raises `CredentialsError` outside such a job, and `NetworkError` or `BadReplyError`.
    """

    @clean_traceback
    async def read() -> str:
        url, bearer = (os.environ.get(f"ACTIONS_ID_TOKEN_REQUEST_{name}", "") for name in ("URL", "TOKEN"))
        if not url or not bearer:
            raise CredentialsError(
                "This is not a job of GitHub Actions that may request an OpenID token.",
                next_step="Add to the job: permissions: {id-token: write}",
            )
        check_endpoint(url, "ACTIONS_ID_TOKEN_REQUEST_URL")
        joint = "&" if "?" in url else "?"
        headers = {"Authorization": f"Bearer {bearer}", "Accept": "application/json"}
        request = Request(Method.GET, f"{url}{joint}{urlencode({'audience': audience})}", headers=headers)
        reply = await send(request)
        value = read_reply(reply, request) if reply.status == 200 else None
        if not isinstance(value, dict) or not isinstance(value.get("value"), str):
            raise BadReplyError(f"{request.name} answered HTTP {reply.status} without a token.")
        return _whole(value["value"], request.name)

    return read


def named_source(found: Any) -> Source:
    """The source that a client file names by one key, or a callable itself. Raises `ConfigError`."""
    if callable(found):
        return cast("Source", found)
    match list(found.items()) if isinstance(found, Mapping) else []:
        case [("kubernetes", True)]:
            return kubernetes()
        case [("file", str(path))] if path:
            return from_file(path)
        case [("github_actions", str(audience))] if audience:
            return github_actions(audience)
        case [("command", [*argv])] if argv and all(isinstance(word, str) for word in argv):
            return from_command(argv)
    raise ConfigError(
        'client_assertion is not one of {"kubernetes": true}, {"file": PATH}, {"github_actions": AUDIENCE}, '
        '{"command": [...]} and, in a program, a callable.'
    )


async def read_token(token: TokenLike, name: str) -> str:
    """The text of a token: given, in a file, or from a callable. Raises `ConfigError`, and what the callable raises."""
    if isinstance(token, str):
        text: object = token
    elif isinstance(token, os.PathLike):
        text = from_file(token)()
    else:
        text = token()
    if inspect.isawaitable(text):
        text = await text
    if not isinstance(text, str) or not text:
        raise ConfigError(f"{name} returned no token: it is {'empty' if text == '' else 'not text'}.")
    return text


def _whole(text: str, name: str) -> str:
    """The token without its last line end. Raises `CredentialsError` for anything that is not one token."""
    token = text.removesuffix("\n").removesuffix("\r")
    if not token:
        raise CredentialsError(f"{name} contains no token.")
    if len(token) > _LONGEST or not token.isascii() or not token.isprintable() or " " in token:
        raise CredentialsError(f"{name} does not contain exactly one token.")
    return token
