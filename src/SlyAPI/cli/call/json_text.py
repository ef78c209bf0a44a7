"""JSON as it came: indented for a terminal, its numbers, duplicate names and order untouched. Pure."""

import json
import re

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[{}\[\],:]|[^\s"{}\[\],:]+')


def indented(text: str) -> str:
    """The JSON in lines, two spaces a level, with the characters of its escapes. Raises `ValueError` if it is not JSON.

    `RecursionError` for one that is nested too deeply to be checked.
    """
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
