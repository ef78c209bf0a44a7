"""Secrets that do not print, and texts with the secrets in them replaced by `***`.

The rule: a container of secrets prints names or a count, never a value.
"""

import re
from base64 import b64encode
from collections.abc import Iterable
from html import escape
from typing import Any


class SecretForm(dict[str, str]):
    """Form fields that carry secrets: prints their names alone, so that no traceback shows a value."""

    def __repr__(self) -> str:
        return f"<SecretForm {', '.join(self)}>"

    def secrets(self, more: Iterable[str] = ()) -> "Secrets":
        """The values that no message may repeat."""
        named = ("code", "code_verifier", "refresh_token", "client_secret", "assertion", "token")
        return Secrets((*(self[name] for name in named if name in self), *more))


class SecretJson(dict[str, Any]):
    """A JSON object that carries secrets: prints its names alone."""

    def __repr__(self) -> str:
        return f"<SecretJson {', '.join(map(str, self))}>"


class Secrets(tuple[str, ...]):
    """Values that no message may repeat; prints none of them."""

    def __repr__(self) -> str:
        return f"<{len(self)} secrets>"


def masked(text: str, secrets: Iterable[str]) -> str:
    """`text` with every secret in it replaced by `***`, also where it is written in another encoding.

    Secrets of less than four characters stay: they would be found in every other word. A stranger's text
    is to be cut to some ten thousand characters before: the time grows with their square.
    """
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) < 4:
            continue
        text = text.replace(secret, "***")
        # letters and digits are the same in every spelling; the pattern of a long secret takes a while to make
        if all(part in text for part in _PLAIN.findall(secret)):
            text = re.sub(_spelled(secret), "***", text)
        encoded = b64encode(secret.encode("utf-8", "replace")).decode().rstrip("=")
        text = re.sub(f"{re.escape(encoded)}=*", "***", text) if encoded in text else text
    return text


def without_half(text: str, secrets: Iterable[str]) -> str:
    """`text` without the beginning of a secret at its end, where a body was cut."""
    for secret in secrets:
        longest = min(len(secret) - 1, len(text))
        halves = (secret[:length] for length in range(longest, 3, -1))
        text = text.removesuffix(next((half for half in halves if text.endswith(half)), ""))
    return text


_PLAIN = re.compile("[A-Za-z0-9_]+")
_LOOSE = r"[\s+\\\x80-\U0010ffff]"
"""What a spelling may have more or less of: spaces, backslashes, characters read in the wrong encoding."""
_PARTS = re.compile(f"{_PLAIN.pattern}|{_LOOSE}+|.")
_MOST_PARTS = 5000
"""No token has more; the pattern of a stranger's would take seconds to make."""


def _spelled(secret: str) -> str:
    """A pattern for the secret as text, URL-encoded, in JSON, in HTML, each once or more.

    Of no part is there a choice how much of a text it takes, so that no text makes the search go back and forth.
    """
    parts = _PARTS.findall(secret)
    if len(parts) > _MOST_PARTS:
        return re.escape(secret)
    return "".join(part if _PLAIN.fullmatch(part) else _spelled_part(part) for part in parts)


def _spelled_part(part: str) -> str:
    """One character that has other spellings, or all at once of a row of those of which there may be more or less."""
    encoded = "|".join(map(_encoded, dict.fromkeys(part)))
    # the longest first, for there is no second choice
    escaped = "|".join(sorted((form for c in dict.fromkeys(part) for form in _escaped(c)), key=len, reverse=True))
    if re.match(_LOOSE, part):
        return rf"(?>{_LOOSE}|(?i:(?<=\\)(?:{escaped})|{encoded})){{1,{8 * len(part) + 8}}}+"
    return rf"(?i:\\{{0,16}}(?:{re.escape(part)}|{escaped})|{encoded})"


_LETTERS = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}


def _escaped(c: str) -> list[str]:
    """Patterns for what stands for a character behind any number of backslashes."""
    utf16 = c.encode("utf-16-be", "surrogatepass").hex()
    forms = [r"\\*".join(f"u{utf16[at : at + 4]}" for at in range(0, len(utf16), 4))]
    if c in _LETTERS:
        forms.append(_LETTERS[c])
    if ord(c) < 0x100:
        forms.append(f"x{ord(c):02x}")
    if ord(c) > 0xFFFF:
        forms.append(f"U{ord(c):08x}")
    return forms


def _encoded(c: str) -> str:
    """A pattern for a character in a URL or in HTML, however many times it was encoded."""
    named = f"{escape(c)[1:-1]}|" if escape(c) != c else ""
    byte = f"{ord(c):02x}" if c.isascii() else "[89a-f][0-9a-f]"  # of UTF-8 or of another encoding
    if c in " +":
        byte = "(?:20|2b)"  # form-encoded, or decoded once too often
    return rf"%(?:25)*{byte}|&(?:amp;)*(?:{named}#0*{ord(c)}|#x0*{ord(c):x});"
