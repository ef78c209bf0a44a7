"""Client certificates for mutual TLS (RFC 8705): the files of a client, as what a connection needs of them.

The rule: a certificate that was renewed on disk is read anew; no message shows a key.
"""

import os
import ssl
from functools import lru_cache

from ..errors import ConfigError
from ..json_file import StrPath, display_path

Certificate = StrPath | tuple[StrPath, StrPath]
"""One PEM file with certificate and key, or a pair of files: the certificate and its key."""


def tls_context(certificate: Certificate) -> ssl.SSLContext:
    """What presents the certificate in TLS. Raises `ConfigError` for files that cannot be used."""
    paths = certificate if isinstance(certificate, tuple) else (certificate,)
    names = tuple(os.fsdecode(path) for path in paths)
    try:
        return _context(names, tuple(os.stat(name).st_mtime_ns for name in names))
    except ssl.SSLError:
        problem = "contains no certificate with its private key, or the key has a password"
    except (OSError, ValueError) as error:
        problem = f"cannot be read ({getattr(error, 'strerror', None) or 'not a path'})"
    raise ConfigError(
        f"The client certificate {display_path(names[0])} {problem}.",
        next_step="Give one PEM file with both, or a pair: certificate=(CERTIFICATE, KEY).",
    )


@lru_cache(maxsize=64)
def _context(names: tuple[str, ...], changed: tuple[int, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_cert_chain(names[0], names[-1], password=_no_password)
    return context


def _no_password() -> bytes:
    raise ValueError("the key has a password")  # else OpenSSL would ask for it on the terminal
