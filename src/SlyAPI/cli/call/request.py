"""The request of `call`, from its words and flags. Opens no connection.

The rule: the body is sent as it was given, and a header that cannot be sent is a usage error.
"""

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from ...errors import ConfigError
from ...oauth2.accounts import Account, check_target
from ...web.messages import FORM, ParamsDict
from ...web.next_steps import PROGRAM, quoted
from ...web.urls import check_endpoint
from ...webapi.origin import full_url
from ..chosen_user import take_account
from .json_text import where_it_fails

_METHOD = re.compile(r"[A-Z]+|get|post|put|patch|delete|head|options|Get|Post|Put|Patch|Delete|Head")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*)")
_LARGEST_TO_RECOGNISE = 1 << 20
"""Bytes of a file whose content decides its Content-Type; a larger one is sent without being held in memory."""
_TYPE = f"Correct it, or name its type: --header {quoted('Content-Type: ...')}."
_OF_THE_CALL = {"authorization", "host", "content-length", "transfer-encoding"}
"""Headers that signing and sending set."""
_URL = "Give a whole https URL, such as https://api.example/me; http is for this machine alone."


@dataclass(slots=True)
class CallRequest:
    """One request: `origin` is scheme and host, `path` the rest of the URL; `app` and `user` are files or empty."""

    app: str
    user: str
    method: str
    origin: str
    path: str
    headers: dict[str, str] = field(repr=False)
    data: bytes | Path | None = field(repr=False)

    def paging(self) -> tuple[str, ParamsDict]:
        """Path and query apart, so that a page replaces the parameters of its name; repeated ones stay in the path."""
        path, _, query = self.path.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        names = [name for name, _ in pairs]
        repeated = [pair for pair in pairs if names.count(pair[0]) > 1]
        single = {name: value for name, value in pairs if names.count(name) == 1}
        return (f"{path}?{urlencode(repeated)}" if repeated else path), single


def read_call(args: Any) -> CallRequest:
    """The request that the arguments describe; reads standard input for `--data @-`. Raises `ConfigError`."""
    app, user, method, url = _words(args.words, args.method, in_store=bool(args.store or args.name))
    take_account(args, None if app else user)
    account: Account | None = getattr(args, "account", None)
    if account is not None:
        app, user = account.client_path, args.user or ""
        url = url if "://" in url else full_url(account.base_url, url)
        check_target(account.origins, url)
    origin, path = _parts(url)
    headers = _headers(args.header)
    data = _body(args.data, headers) if args.data else None
    method = method or ("GET" if data is None else "POST")
    if (args.output or args.paginate) and (method != "GET" or data is not None):
        flag = "--output" if args.output else "--paginate"
        raise ConfigError(f"{flag} is for GET without --data.", next_step=f"Leave {flag} out.")
    clash = {"--output": args.output, "--paginate": args.paginate, "--include": args.include}
    given = [flag for flag, value in clash.items() if value]
    if given[1:]:
        raise ConfigError(f"{given[0]} and {given[1]} exclude each other.", next_step="Leave one of them out.")
    if args.items and not args.paginate:
        raise ConfigError("--items is for --paginate.", next_step="Give --paginate too.")
    return CallRequest(app, user, method, origin, path, headers, data)


def _parts(url: str) -> tuple[str, str]:
    """The origin of a URL, and the rest without its fragment. Raises `ConfigError`."""
    try:
        check_endpoint(url.partition("#")[0], "URL")
    except ConfigError as error:
        error.next_step = _URL
        raise
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    path = url.partition("#")[0][len(origin) :]
    return origin, path if path.startswith("/") else f"/{path}"


def _words(words: Sequence[str], chosen: str | None, *, in_store: bool) -> tuple[str, str, str, str]:
    """Client file, user file, method and URL; empty where there is none. Raises `ConfigError`."""
    *files, url = words
    if "://" not in url and os.path.isfile(url):
        raise ConfigError("The URL is missing: the last word is a file.", next_step=_URL)
    method = chosen or (files.pop().upper() if files and _METHOD.fullmatch(files[-1]) else "")
    most = 1 if in_store else 2
    if len(files) > most:
        raise ConfigError("call has too many words.", next_step=f"See: {PROGRAM} call --help")
    user = "" if in_store or not files else files.pop()
    return (files[0] if files else ""), user, method, url


def _headers(given: Sequence[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for text in given:
        parts = _HEADER.fullmatch(text.strip())
        if parts is None or not parts[2].isprintable():
            raise ConfigError("--header does not have the form NAME: VALUE.")
        if parts[1].lower() in _OF_THE_CALL:
            raise ConfigError(f"The header {parts[1]} is set by the call itself.", next_step="Leave it out.")
        _add(headers, parts[1], parts[2].strip())
    return headers


def _add(headers: dict[str, str], name: str, value: str) -> None:
    """Adds a header; a repeated one is a list in one line, which means the same (RFC 9110 §5.3)."""
    known = next((each for each in headers if each.lower() == name.lower()), name)
    if known in headers and name.lower() == "content-type":
        raise ConfigError("--header: a request has one Content-Type.", next_step="Leave one of them out.")
    between = "; " if name.lower() == "cookie" else ", "
    headers[known] = f"{headers[known]}{between}{value}" if known in headers else value


def _body(given: Sequence[str], headers: dict[str, str]) -> bytes | Path:
    """The body of `--data`, and its Content-Type in `headers` unless that is there."""
    if given[1:] and any(text.startswith("@") for text in given):
        raise ConfigError("--data @FILE is the whole body.", next_step="Give one --data.")
    text = "&".join(given)
    typed = any(name.lower() == "content-type" for name in headers)
    if text == "@-":
        body = sys.stdin.buffer.read() if sys.stdin is not None else b""
    elif text.startswith("@"):
        return _file(Path(text[1:]), headers, typed)
    else:
        body = text.encode("utf-8", "surrogateescape")
    if typed:
        return body
    recognised = _recognised(body)
    if recognised is None:
        raise ConfigError("--data is neither JSON nor a form (NAME=VALUE&...).", next_step=_TYPE)
    headers["Content-Type"], body = recognised
    return body


def _recognised(body: bytes) -> tuple[str, bytes] | None:
    """Content-Type and body: JSON as it is, a form with its values encoded; None for anything else.

    Raises `ConfigError` for what begins like JSON and is not.
    """
    try:
        text = body.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return None
    if not (mistake := where_it_fails(text)):
        return "application/json", body
    if text.startswith(("{", "[", '"')):
        raise ConfigError(f"--data begins like JSON and is not JSON ({mistake}).", next_step=_TYPE)
    try:
        return FORM, urlencode(parse_qsl(text, keep_blank_values=True, strict_parsing=True)).encode()
    except ValueError:
        return None


def _file(path: Path, headers: dict[str, str], typed: bool) -> bytes | Path:
    """The file, or its content where only that shows its type, as for an argument and a pipe."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read() if size <= _LARGEST_TO_RECOGNISE else b""
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(f"--data: the file cannot be read ({why}).", next_step="Check the path.") from None
    if typed:
        return path
    import mimetypes  # its tables are large

    kind = mimetypes.guess_type(os.fspath(path))[0]
    recognised = _recognised(content) if content and kind in (None, "application/json") else None
    if recognised is not None:
        headers["Content-Type"], content = recognised
        return content
    headers["Content-Type"] = kind or "application/octet-stream"
    return path
