"""JSON as it came: indented for a terminal, or an item in a line, its numbers, duplicate names and order untouched.

Pure.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from ...web.json import Digits

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[{}\[\],:]|[^\s"{}\[\],:]+')


def indented(text: str) -> str:
    """JSON in lines, its escapes as characters. Raises `ValueError`, and `RecursionError` where nested too deeply."""
    json.loads(text, parse_int=str, parse_float=str)  # a number may have more digits than Python reads
    pieces: list[str] = []
    depth, opened = 0, False
    for token in _TOKEN.findall(text):
        if token in "}]":
            depth -= 1
            pieces.append(token if opened else f"\n{'  ' * depth}{token}")
        elif token == ",":
            pieces.append(f",\n{'  ' * depth}")
        elif token == ":":
            pieces.append(": ")
        else:
            shown = json.dumps(json.loads(token), ensure_ascii=False) if token[0] == '"' else token
            pieces.append(f"\n{'  ' * depth}{shown}" if opened else shown)
        opened = token in "{["
        depth += opened
    return "".join(pieces)


def where_it_fails(text: str) -> str:
    """Line and column of the first mistake in what is meant as JSON; "" if it is JSON."""
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except json.JSONDecodeError as error:
        return f"line {error.lineno}, column {error.colno}"
    except RecursionError:
        return "nested too deeply"
    return ""


class _Members(dict[str, Any]):
    """An object, and its members as they came: of equal names the last one counts."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def _integer(text: str) -> int | Digits:
    """An integer, which a style of paging may need; -0, and one of too many digits, by its text."""
    return Digits(text) if text == "-0" or len(text) > 4000 else int(text)


read_as_it_came: Callable[[str], Any] = json.JSONDecoder(
    parse_int=_integer, parse_float=Digits, object_pairs_hook=_Members
).decode
"""The value of JSON text, which `written` writes as it came. Raises `ValueError`, `RecursionError`."""


def written(value: Any) -> str:
    """A value as a line of JSON. Raises `RecursionError` for one that is nested almost too deeply to be read."""
    if isinstance(value, Digits):
        return value.text
    if isinstance(value, dict):
        pairs = value.pairs if isinstance(value, _Members) else value.items()
        return "{" + ", ".join(f"{json.dumps(name)}: {written(member)}" for name, member in pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)
