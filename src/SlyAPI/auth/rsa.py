"""RSA-SHA1: RSASSA-PKCS1-v1_5 (RFC 8017 §8.2), by the package cryptography. Pure."""

from typing import Any

from ..errors import ConfigError, MissingExtraError
from ..web.next_steps import install
from ..web.pem import key_problem


def load(private_key: object) -> Any:
    """The RSA key in PEM (text or bytes), or `cryptography`'s object for one, after a trial signature.

    Raises `ConfigError`, which quotes nothing, and `MissingExtraError` without the package.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise MissingExtraError(
            "RSA-SHA1 needs the package cryptography.", next_step=install("rsa", "cryptography")
        ) from None
    key: Any = private_key
    try:
        if isinstance(key, str):
            key = key.encode("ascii", "replace")
        if isinstance(key, bytes):
            key = load_pem_private_key(key, None)
        if isinstance(key, RSAPrivateKey):
            sign(key, b"")  # the machine's policy may forbid SHA-1, or the key may be too short
            return key
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it has a password
        pass
    if isinstance(private_key, str | bytes) and (problem := key_problem(private_key)):
        raise ConfigError(f"private_key {problem[0]}.", next_step=problem[1])
    raise ConfigError(
        "private_key is not an RSA private key in PEM that can sign with SHA1 here.",
        next_step="Convert it with: openssl rsa -in KEY -out KEY.pem",
    )


def sign(key: Any, text: bytes) -> bytes:
    """The signature of `text` by a key from `load`."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    signature: bytes = key.sign(text, PKCS1v15(), hashes.SHA1())
    return signature
