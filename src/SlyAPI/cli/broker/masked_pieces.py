"""Texts, and bodies in pieces, without the spellings of the same secrets. Pure.

The rule: in pieces a spelling is replaced by as many `*`, wherever they split it, so that the size stays as announced.
"""

import re
from collections.abc import Iterable
from functools import cached_property

from ...web.masking import in_base64, masked, url_encoded
from ...web.secret_values import Secrets

_FOR_URLS = str.maketrans("+/", "-_")
"""From base64 to its alphabet for URLs (RFC 4648 §5)."""


class Mask:
    """Secrets, with what is made of them once for many replies."""

    def __init__(self, secrets: Secrets) -> None:
        self.secrets = secrets
        long = [secret for secret in dict.fromkeys(secrets) if len(secret) > 3]
        self._needles = {_needle(text) for secret in long for text in (secret, in_base64(secret))}

    def text(self, text: str) -> str:
        """As `masked`, which takes longer than a call: nothing is in a text that has no escapes and no needle."""
        if "%" in text or "&" in text or "\\" in text or any(needle in text for needle in self._needles):
            return masked(text, self.secrets)
        return text

    @cached_property
    def spellings(self) -> list[bytes]:
        """What is replaced in pieces, the longest first."""
        found = {spelling for secret in self.secrets if len(secret) > 3 for spelling in _spellings(secret)}
        return sorted(found, key=len, reverse=True)


class MaskedPieces:
    """Masks what is fed to it; holds back only what may be the beginning of a spelling."""

    def __init__(self, mask: Mask) -> None:
        self._spellings = mask.spellings
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """What may be sent by now."""
        text = self._held + piece if self._held else piece
        for spelling in self._spellings:
            if spelling in text:
                text = text.replace(spelling, b"*" * len(spelling))
        kept = max((_begun(text, spelling) for spelling in self._spellings), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def end(self) -> bytes:
        """The rest."""
        rest, self._held = self._held, b""
        return rest


def _begun(text: bytes, spelling: bytes) -> int:
    """The length of the longest end of `text` that is a beginning of `spelling`."""
    at = text.find(spelling[:1], max(0, len(text) - len(spelling) + 1))
    while at >= 0 and not spelling.startswith(text[at:]):
        at = text.find(spelling[:1], at + 1)
    return len(text) - at if at >= 0 else 0


def _needle(text: str) -> str:
    """A part of the text that is the same in each of its spellings without escapes; "" if there is none."""
    return "" if re.search(r"[%&\\]", text) else max(re.split(r"[^!-~]|\+", text), key=len)


def _spellings(secret: str) -> Iterable[bytes]:
    """The secret as it is, URL-encoded, with JSON's escaped slash, in base64, and in UTF-16."""
    plain = in_base64(secret)
    for text in (secret, plain, plain.translate(_FOR_URLS)):
        for spelling in (text, text.replace("/", "\\/"), *url_encoded(text)):
            yield spelling.encode("utf-8", "replace")
    yield "\0".join(secret).encode("utf-8", "replace")
