"""What a text in PEM (RFC 7468) is, by its lines alone: for messages about keys that cannot be used. Pure.

The rule: nothing of the text is quoted.
"""

from .next_steps import quoted

_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_SHORTEST = 40
"""Characters: the body of the shortest private key, of Ed25519, has 64."""
_ENCRYPTED = ("-----BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED")
"""RFC 7468 §11, and the older form of OpenSSL (RFC 1421 §4.6.1.1)."""


def is_body(text: str) -> bool:
    """Whether this is the base64 of a DER sequence, such as a key or a certificate without its first and last line."""
    joined = "".join(text.split())
    if joined[:1] != "M" or len(joined) < _SHORTEST or joined.strip(_BASE64):
        return False
    return joined[1] in "ABCDEFGHI"  # the length of the sequence: below 128 bytes, or in bytes of its own


def key_problem(content: str | bytes, path: str = "KEY.pem") -> tuple[str, str] | None:
    """Why a text is not a usable private key, and the next step; None if it may be one. `path` is the text's file."""
    text = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
    if any(mark in text for mark in _ENCRYPTED):
        return "is encrypted with a password", f"Decrypt it with: {decrypt_command(path)}"
    if is_body(text):
        step = "Save it in a file with the lines -----BEGIN PRIVATE KEY----- and -----END PRIVATE KEY-----."
        return "lacks the first and last line of PEM", step
    return None


def decrypt_command(path: str) -> str:
    """The command that writes an encrypted key without its password, next to it."""
    stem, dot, ending = path.rpartition(".")
    plain = f"{stem}-plain.{ending}" if dot and "/" not in ending else f"{path}-plain.pem"
    return f"openssl pkey {quoted('-in', path, '-out', plain)}"
