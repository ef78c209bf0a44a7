"""Client certificates for mutual TLS (RFC 8705): the files of a client, as what a connection needs of them.

The rule: a certificate that was renewed on disk is read anew by the next request, and the one before serves while the
new files are incomplete; no message shows a key.
"""

import hashlib
import logging
import os
import ssl
from base64 import urlsafe_b64encode
from typing import NamedTuple

from ..errors import ConfigError
from ..json_file import StrPath, display_path, read_problem, read_regular
from ..web.pem import key_problem

Certificate = StrPath | tuple[StrPath, StrPath]
"""One PEM file with certificate and key, or a pair of files: the certificate and its key."""
_log = logging.getLogger("SlyAPI")
_MOST = 64
"""Certificates that are kept ready."""
_NEXT_STEP = "Give one PEM file with both, or a pair: certificate=(CERTIFICATE, KEY)."


class _Ready(NamedTuple):
    """A context, and the files as they were when it was made or kept; a new one makes new connections."""

    stamps: tuple[tuple[int, int, int], ...]
    context: ssl.SSLContext


_ready: dict[tuple[str, ...], _Ready] = {}


def tls_context(certificate: Certificate) -> ssl.SSLContext:
    """What presents the certificate in TLS; the same object until a file changes.

    Raises `ConfigError` for files that cannot be used, unless they could be used before: who renews a certificate and
    its key may be between the two files.
    """
    names = _names(certificate)
    before, stamps = _ready.get(names), tuple[tuple[int, int, int], ...]()
    try:
        stamps = tuple(_stamp(name) for name in names)
        if before is not None and before.stamps == stamps:
            return before.context
        for name in names:
            read_regular(name)  # OpenSSL would wait for the writer of a pipe
        context = ssl.create_default_context()
        context.load_cert_chain(names[0], names[-1], password=_no_password)
    except ssl.SSLError:
        problem, step = _key_problem(names) or ("contains no certificate with its private key", _NEXT_STEP)
    except (OSError, ValueError) as error:
        why = read_problem(error)
        problem, step = _key_problem(names) or (f"cannot be read ({why})", _NEXT_STEP)
    else:
        while len(_ready) >= _MOST:
            _ready.pop(next(iter(_ready)), None)
        _ready[names] = _Ready(stamps, context)
        return context
    if before is not None:
        if before.stamps != stamps:
            _ready[names] = before._replace(stamps=stamps)  # the same files are not tried, and reported, again
            _log.warning("The client certificate %s %s; the one before stays in use.", display_path(names[0]), problem)
        return before.context
    raise ConfigError(f"The client certificate {display_path(names[0])} {problem}.", next_step=step)


def _key_problem(names: tuple[str, ...]) -> tuple[str, str] | None:
    """Why the private key of a certificate cannot be used, and the next step; None if it looks usable."""
    try:
        found = key_problem(read_regular(names[-1]), display_path(names[-1]))
    except (OSError, ValueError):
        return None
    if found is None:
        return None
    pair = "" if len(names) == 2 else "Give the pair (CERTIFICATE, KEY), with a key of its own. "
    return f"has a private key that {found[0]}", pair + found[1]


def thumbprint(certificate: Certificate) -> str:
    """`x5t#S256` (RFC 8705 §3.1): base64url SHA-256 of the certificate. Raises `ConfigError` for a file without one."""
    name = _names(certificate)[0]
    try:
        _, begin, rest = read_regular(name).decode("ascii", "replace").partition(ssl.PEM_HEADER)
        body, end, _ = rest.partition(ssl.PEM_FOOTER)
        if begin and end:
            digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(f"{begin}{body}{end}")).digest()
            return urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
    except (OSError, ValueError):
        pass
    raise ConfigError(f"The client certificate {display_path(name)} cannot be read.", next_step=_NEXT_STEP)


def _names(certificate: Certificate) -> tuple[str, ...]:
    paths = certificate if isinstance(certificate, tuple) else (certificate,)
    return tuple(os.fsdecode(path) for path in paths)


def _stamp(name: str) -> tuple[int, int, int]:
    """What changes when a file is written, or replaced by a rename."""
    found = os.stat(name)
    return found.st_mtime_ns, found.st_size, found.st_ino


def _no_password() -> bytes:
    raise ValueError("the key is encrypted")  # else OpenSSL would ask for it on the terminal
