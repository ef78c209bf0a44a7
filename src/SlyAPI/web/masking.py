"""Texts with the secrets in them replaced by `***`.

The rule: the text is normalised once, so that no spelling of a secret is missed and the time is linear.
"""

import re
from base64 import b64encode
from collections.abc import Iterable
from urllib.parse import quote


def masked(text: str, secrets: Iterable[str]) -> str:
    """`text` with every secret in it replaced by `***`; `***` alone where a secret is in it in another spelling.

    Replaced are a secret as it is, URL-encoded, and in base64. Secrets of less than four characters stay: every
    other word would contain them. Takes time linear in the length of the text.
    """
    fitting = [secret for secret in secrets if 3 < len(secret) <= len(text)]  # an encoded one is not shorter
    spellings = {spelling for secret in fitting for spelling in (secret, in_base64(secret))}
    for spelling in sorted(spellings, key=len, reverse=True):
        for as_written in (spelling, *url_encoded(spelling)):
            text = text.replace(as_written, "***")
    plain = None
    for spelling in spellings:
        if len(spelling) <= len(text):
            plain = plain or _plain_forms(text)
            core = _plain_forms(spelling)[-1]
            if len(plain) > _ROUNDS or (core.strip(_LOOSE) and any(core in form for form in plain)):
                return "***"
    return text


def without_half(text: str, secrets: Iterable[str]) -> str:
    """`text` without the beginning of a secret at its end, where a body was cut."""
    for secret in secrets:
        longest = min(len(secret) - 1, len(text))
        halves = (secret[:length] for length in range(longest, 3, -1))
        text = text.removesuffix(next((half for half in halves if text.endswith(half)), ""))
    return text


def url_encoded(text: str) -> Iterable[str]:
    """The text as it may stand in a URL."""
    for safe in ("", "/"):
        encoded = quote(text, safe, errors="replace")
        yield encoded.replace("%20", "+")
        yield encoded
        yield re.sub(_OCTET, lambda octet: octet[0].lower(), encoded)


def in_base64(secret: str) -> str:
    """The secret in base64, without padding."""
    return b64encode(secret.encode("utf-8", "replace")).decode().rstrip("=")


# Only errors need them: `re` compiles them at the first use and caches them.
# All quantifiers that could give characters to each other are possessive or bounded: no backtracking (ReDoS).
_ESCAPED = (
    r"(?i)%(?:25)*(?P<url>[0-9a-f]{2})"
    r"|&(?:amp;)*(?:\#x0*(?P<hex>[0-9a-f]{1,6})|\#0*(?P<number>[0-9]{1,7})|(?P<name>amp|lt|gt|quot|apos));"
    r"|(?<!\\)\\++(?:(?-i:u)(?P<utf16>[0-9a-f]{4})|x(?P<byte>[0-9a-f]{2})|U(?P<utf32>[0-9a-f]{8})"
    r"|(?P<letter>[nrtbf]))"
)
_OCTET = "%[0-9A-F]{2}"
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'", "n": "\n", "r": "\r", "t": "\t", "b": "\b"}
_ROUNDS = 6
_LOOSE = "\x80"
"""Stands for what encodings disagree about: white space, `+`, and characters beyond ASCII, any number of them."""
_DISAGREED = r"[\s+\x80-\U0010ffff]+"


def _plain_forms(text: str) -> list[str]:
    """The text with one layer of escapes fewer each (URLs, HTML, JSON, Python), at most `_ROUNDS` and one more."""
    forms: list[str] = []
    while len(forms) <= _ROUNDS:
        forms.append(re.sub(_DISAGREED, _LOOSE, text.replace("\\", "")))
        before, text = text, re.sub(_ESCAPED, _unescaped, text)
        if text == before:
            break
    return forms


def _unescaped(escape: re.Match[str]) -> str:
    kind = str(escape.lastgroup)
    if kind in ("name", "letter"):
        return _NAMED.get(escape[kind].lower(), _LOOSE)
    number = int(escape[kind], 10 if kind == "number" else 16)
    return chr(number) if number < 0x80 else _LOOSE
