"""RSASSA-PKCS1-v1_5 with SHA-1, for RFC 5849 §3.4.3, by the extra `[rsa]`. Pure."""

from importlib.util import find_spec
from typing import Any

from ..errors import ConfigError, MissingExtraError


def load(private_key: object) -> Any:
    """The RSA key in PEM (text or bytes), or `cryptography`'s object for one, tried out.

    Raises `ConfigError`, which quotes nothing, and `MissingExtraError` without the package.
    """
    there = find_spec("cryptography") is not None
    key = _parsed(private_key) if there else None
    del private_key  # so that no traceback shows it
    if not there:
        raise MissingExtraError(
            "RSA-SHA1 needs the package cryptography.", next_step="Install it with: pip install 'SlyAPI[rsa]'"
        )
    if key is None:
        raise ConfigError(
            "private_key is no RSA private key in PEM that can sign with SHA-1 here, or it has a password.",
            next_step="Convert it with: openssl rsa -in KEY -out KEY.pem",
        )
    return key


def _parsed(private_key: Any) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = private_key
    try:
        if isinstance(key, str):
            key = key.encode("ascii", "replace")
        if isinstance(key, bytes):
            key = load_pem_private_key(key, None)
        if isinstance(key, RSAPrivateKey):
            sign_sha1(key, b"")  # the machine's policy may forbid SHA-1, the key be too short for it
            return key
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it has a password
        pass
    return None


def sign_sha1(key: Any, text: bytes) -> bytes:
    """The signature of `text` by a key that `load` gave."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA1

    signature: bytes = key.sign(text, PKCS1v15(), SHA1())
    return signature
