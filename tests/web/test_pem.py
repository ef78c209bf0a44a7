"""Keys that cannot be used, known by the lines of their text alone: encrypted ones, and bodies without header lines."""
from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from SlyAPI import OAuth1, OAuth1App, OAuth1User, OAuth2App, OAuth2ServiceAccount
from SlyAPI.errors import ConfigError
from SlyAPI.oauth2.messages.jose import load_signing_key
from SlyAPI.transport.certificates import tls_context
from SlyAPI.web.pem import decrypt_command, is_body, key_problem
from tests.support.certificates import make_certificate

KEYS: dict[str, Any] = {
    "RSA": rsa.generate_private_key(65537, 2048),
    "EC": ec.generate_private_key(ec.SECP256R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}
FORMATS = [(name, "PKCS8") for name in KEYS] + [(name, "TraditionalOpenSSL") for name in ("RSA", "EC")]


def pem(name: str, form: str = "PKCS8", *, encrypted: bool = False) -> str:
    how = BestAvailableEncryption(b"a password") if encrypted else NoEncryption()
    return str(KEYS[name].private_bytes(Encoding.PEM, getattr(PrivateFormat, form), how).decode())


def body_of(text: str) -> str:
    return "".join(text.splitlines()[1:-1])


@pytest.mark.parametrize(("name", "form"), FORMATS)
def test_an_encrypted_key_and_a_body_are_told_from_a_key(name: str, form: str) -> None:
    assert key_problem(pem(name, form)) is None
    assert "encrypted" in (key_problem(pem(name, form, encrypted=True)) or [""])[0]
    body = body_of(pem(name, form))
    assert is_body(body)
    assert not is_body(body[:30])
    assert "first and last line" in (key_problem(body.encode()) or [""])[0]


@pytest.mark.parametrize(
    "path", ["key.pem", "MAIN/keys/of-my-application/private/client-key.pem", "/etc/ssl/key", "M" * 60]
)
def test_a_path_is_not_a_body(path: str) -> None:
    assert not is_body(path)


def client_of(path: Path) -> OAuth2App:
    return OAuth2App("https://a.example/app", None, "", "https://p.example/t", key=str(path))


USES: dict[str, Callable[[Path], object]] = {
    "a path": lambda path: load_signing_key(str(path)),
    "a client": lambda path: client_of(path).client_metadata(client_name="A", redirect_uris=["http://127.0.0.1/"]),
    "text": lambda path: load_signing_key(path.read_text()),
    "a service account": lambda path: OAuth2ServiceAccount(
        {"client_email": "a@p.example", "private_key": path.read_text(), "token_uri": "https://p.example/t"}, ["a"]
    ),
    "OAuth 1": lambda path: OAuth1(
        OAuth1App("k", "s", "", "", ""), OAuth1User("k", "s"), method="RSA-SHA1", private_key=path.read_text()
    ),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
def test_an_encrypted_key_comes_with_the_command_that_decrypts_it(use: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text(pem("RSA", form, encrypted=True))
    with pytest.raises(ConfigError, match="is encrypted with a password") as caught:
        USES[use](path)
    assert "openssl pkey -in" in caught.value.next_step
    assert (str(path) in str(caught.value)) == (use in ("a path", "a client"))


@pytest.mark.parametrize("use", USES)
def test_a_body_without_its_lines_is_named_and_not_shown(use: str, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text(body_of(pem("RSA")))
    with pytest.raises(ConfigError, match="lacks the first and last line") as caught:
        USES[use](path)
    assert "-----BEGIN PRIVATE KEY-----" in caught.value.next_step
    assert path.read_text()[:20] not in str(caught.value)


@pytest.mark.posix  # runs openssl
def test_the_command_decrypts_what_it_is_for(tmp_path: Path) -> None:
    path = tmp_path / "my key.pem"
    path.write_text(pem("EC", encrypted=True))
    command = decrypt_command(str(path))
    subprocess.run(f"{command} -passin 'pass:a password'", shell=True, check=True, timeout=30)
    assert load_pem_private_key((tmp_path / "my key-plain.pem").read_bytes(), None)


@pytest.mark.parametrize("name", ["key", "certificate"])
def test_a_body_in_a_client_file_is_named_and_not_shown(name: str, tmp_path: Path) -> None:
    body = body_of(pem("EC"))
    client = {"id": "an-id", "auth_uri": "https://p.example/a", "token_uri": "https://p.example/t", name: body}
    (tmp_path / "app.json").write_text(json.dumps(client))
    with pytest.raises(ConfigError, match=f"{name} is the content of a file") as caught:
        OAuth2App.from_json_file(tmp_path / "app.json")
    assert body[:20] not in str(caught.value)
    assert "-----BEGIN" in str(caught.value)


@pytest.mark.parametrize("pair", [True, False])
def test_the_encrypted_key_of_a_certificate_is_named(pair: bool, tmp_path: Path) -> None:
    certificate, key = tmp_path / "client.pem", tmp_path / "client.key"
    encrypted = pem("RSA", encrypted=True)
    make_certificate(tmp_path, "made")
    text = (tmp_path / "made.crt").read_text()
    key.write_text(encrypted)
    certificate.write_text(text if pair else text + encrypted)
    given: Any = (certificate, key) if pair else certificate
    with pytest.raises(ConfigError, match=r"client\.pem has a private key that is encrypted") as caught:
        tls_context(given)
    assert f"openssl pkey -in {key if pair else certificate} -out" in caught.value.next_step
    assert ("pair" in caught.value.next_step) != pair
