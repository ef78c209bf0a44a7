"""A body in pieces, without the spellings of secrets. Pure.

The rule: a spelling is replaced by as many `*`, wherever pieces split it, so that the size stays what was announced.
"""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable
from urllib.parse import quote


class MaskedPieces:
    """Masks what is fed to it; holds back only what may be the beginning of a spelling."""

    def __init__(self, secrets: Iterable[str]) -> None:
        found = {spelling for secret in secrets if len(secret) > 3 for spelling in _spellings(secret)}
        self._spellings = sorted(found, key=len, reverse=True)
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


def _spellings(secret: str) -> Iterable[bytes]:
    """The secret as it is, URL-encoded, with JSON's escaped slash, in base64, and in UTF-16."""
    raw = secret.encode("utf-8", "replace")
    for text in (secret, b64encode(raw).decode().rstrip("="), urlsafe_b64encode(raw).decode().rstrip("=")):
        yield text.encode("utf-8", "replace")
        yield text.replace("/", "\\/").encode("utf-8", "replace")
        for safe in ("", "/"):
            encoded = quote(text, safe, errors="replace")
            yield encoded.encode()
            first, *escaped = encoded.split("%")
            yield "%".join([first, *(part[:2].lower() + part[2:] for part in escaped)]).encode()
    yield "\0".join(secret).encode("utf-8", "replace")
