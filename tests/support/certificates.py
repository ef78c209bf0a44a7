"""Keys and certificates for tests of TLS, complete enough for OpenSSL's strict checks (Python 3.13 and later)."""
from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

Issued = tuple[Any, Any]
"""A key, and its certificate."""


def make_certificate(
    folder: Path, name: str, ca: Issued | None = None, *, hosts: Sequence[str] = ("localhost",)
) -> Issued:
    """A key and its certificate for `hosts`, signed by `ca`, or by itself as a CA.

    Written to the folder: `NAME.key`, `NAME.crt`, and both in `NAME.pem`.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer, issuer_key = (ca[1].subject, ca[0]) if ca else (subject, key)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([*map(_name, hosts)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=ca is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if ca is None:
        builder = builder.add_extension(_SIGNS_CERTIFICATES, critical=True)
    made = builder.sign(issuer_key, hashes.SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = made.public_bytes(Encoding.PEM)
    for ending, content in (("key", private), ("crt", public), ("pem", private + public)):
        (folder / f"{name}.{ending}").write_bytes(content)
    return key, made


def _name(host: str) -> x509.GeneralName:
    return x509.DNSName(host) if host.strip("0123456789.") else x509.IPAddress(IPv4Address(host))


def server_context(folder: Path, wanted: ssl.VerifyMode = ssl.CERT_REQUIRED) -> ssl.SSLContext:
    """A server with the certificate `server.pem`, which wants one of its clients that `ca.crt` has signed."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "ca.crt"))
    context.load_cert_chain(folder / "server.pem")
    context.verify_mode = wanted
    return context


_OTHERS = (
    *("content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "encipher_only", "decipher_only"),
)
_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=True, key_cert_sign=True, crl_sign=True, **dict.fromkeys(_OTHERS, False)
)
