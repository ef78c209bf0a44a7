"""Signatures and keys that must be refused: one table of what is wrong, the clause, and how it is made.

The rule: each row departs from a message that verifies. The rows are of the kinds of Wycheproof's JSON Web Signature
vectors; `test_wycheproof.py` reads those themselves.
"""
from __future__ import annotations

import hmac
import json

import pytest
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from SlyAPI.errors import IdentityError
from SlyAPI.oauth2.messages.jose import ASYMMETRIC
from SlyAPI.oauth2.messages.signed_tokens import read_jws
from tests.support import signed_messages as by
from tests.support.issuer import b64url, jwk_of, private_key
from tests.support.signed_messages import (
    DIGEST_INFO,
    N_256,
    PAYLOAD,
    Row,
    block,
    decoded,
    good,
    key,
    key_of,
    message,
    part,
    published,
    signature,
    signed_as,
)

OURS = (*ASYMMETRIC, "HS256")

# RSASSA-PKCS1-v1_5: the block must be rebuilt and compared, not parsed (RFC 8017 §8.2.2)
BLOCKS = {
    "another-hash": block(DIGEST_INFO.replace(bytes.fromhex("0402010500"), bytes.fromhex("0402020500"))),
    "no-hash-named": block(b""),
    "without-null": block(bytes.fromhex("302f300b06096086480165030402010420")),
    "null-of-length-1": block(bytes.fromhex("3032300e06096086480165030402010501000420")),
    "length-in-long-form": block(bytes.fromhex("308131300d060960864801650304020105000420")),
    "length-with-a-zero": block(bytes.fromhex("30820031300d060960864801650304020105000420")),
    "length-indefinite": block(bytes.fromhex("3080300d060960864801650304020105000420"), behind=bytes(2)),
    "length-of-4-GiB": block(bytes.fromhex("3085010000003100300d060960864801650304020105000420")),
    "octets-in-long-form": block(bytes.fromhex("3032300d06096086480165030402010500048120")),
    "another-tag": block(b"\x31" + DIGEST_INFO[1:]),
    "zeros-behind-the-hash": block(behind=bytes(8)),
    "much-behind-the-hash": block(behind=b"\xab" * 150),
    "kind-0": block(kind=0),
    "kind-2": block(kind=2),
    "filled-with-zeros": block(fill=0),
    "filled-with-others": block(fill=0xFE),
}
EDGES = {"0": 0, "1": 1, "n-1": N_256 - 1, "n": N_256, "max": 2**256 - 1}

SIGNATURES = [
    *(message(f"pkcs1-{name}", "RFC 8017 §9.2", change, "RS256") for name, change in BLOCKS.items()),
    message("pkcs1-plus-modulus", "RFC 8017 §5.2.2", signature(by.plus_modulus), "RS256"),
    message("pkcs1-zero", "RFC 8017 §5.2.2", signature(lambda raw: bytes(len(raw))), "RS256"),
    message("pkcs1-one", "RFC 8017 §5.2.2", signature(lambda raw: b"\1".rjust(len(raw), b"\0")), "RS256"),
    message("pkcs1-longer", "RFC 8017 §8.2.2 (1)", signature(lambda raw: b"\0" + raw), "RS256"),
    message("pkcs1-shorter", "RFC 8017 §8.2.2 (1)", signature(lambda raw: raw[:-1]), "RS256"),
    message("pss-in-place-of-pkcs1", "RFC 7518 §3.3", by.pss(SHA256(), SHA256(), 32), "RS256"),
    *(message(f"pss-salt-{salt}", "RFC 7518 §3.5", by.pss(SHA256(), SHA256(), salt), "PS256") for salt in (0, 20, 64)),
    *(
        message(f"pss-{name}", "RFC 7518 §3.5", by.pss(hash, mask, 32), "PS256")
        for name, hash, mask in [
            ("mask-sha1", SHA256(), SHA1()),
            ("mask-sha512", SHA256(), SHA512()),
            ("sha384", SHA384(), SHA384()),
        ]
    ),
    *(
        message(f"ecdsa-r-{name_r}-s-{name_s}", "FIPS 186-5 §6.4.2 (1)", by.halves(r, s))
        for name_r, r in EDGES.items()
        for name_s, s in EDGES.items()
    ),
    message("ecdsa-swapped", "RFC 7518 §3.4", signature(lambda raw: raw[32:] + raw[:32])),
    message("ecdsa-der", "RFC 7518 §3.4", signature(by.der)),
    message("ecdsa-padded-halves", "RFC 7518 §3.4", signature(lambda raw: b"\0" + raw[:32] + b"\0" + raw[32:])),
    message("ecdsa-zeros-behind", "RFC 7518 §3.4", signature(lambda raw: raw + bytes(2))),
    message("ecdsa-zeros-behind-384", "RFC 7518 §3.4", signature(lambda raw: raw + bytes(2)), "ES384"),
    message("ecdsa-half", "RFC 7518 §3.4", signature(lambda raw: raw[:32])),
    message("eddsa-s-plus-order", "RFC 8032 §5.1.7 (1)", signature(by.s_plus_order), "EdDSA"),
    message("eddsa-longer", "RFC 8032 §5.1.7 (1)", signature(lambda raw: raw + b"\0"), "EdDSA"),
    message("eddsa-shorter", "RFC 8032 §5.1.7 (1)", signature(lambda raw: raw[:-1]), "EdDSA"),
    message("eddsa-zeros", "RFC 8032 §5.1.7", signature(lambda raw: bytes(64)), "EdDSA"),
    message("hmac-shorter", "RFC 7518 §3.2", signature(lambda raw: raw[:16]), "HS256"),
    message("hmac-empty", "RFC 7518 §3.2", part(2, lambda _: ""), "HS256"),
    *(message(f"{alg}-flipped", "RFC 7515 §5.2", signature(lambda raw: by.flipped(raw, 0)), alg) for alg in OURS),
    *(message(f"{alg}-flipped-high", "RFC 7515 §5.2", signature(lambda raw: by.flipped(raw, 7)), alg) for alg in OURS),
    *(message(f"{alg}-of-other-payload", "RFC 7515 §5.2", part(1, lambda _: b64url(b"{}")), alg) for alg in OURS),
    *(message(f"{alg}-of-other-header", "RFC 7515 §5.2", part(0, lambda text: b64url(b" " + decoded(text))), alg)
      for alg in OURS),
]  # fmt: skip

COMPACT, BASE64 = "RFC 7515 §7.1", "RFC 7515 §2"
FORMS = [
    *(message(f"part-{number}-empty", COMPACT, part(number, lambda _: "")) for number in (0, 1, 2)),
    message("no-header", COMPACT, lambda token: token.partition(".")[2]),
    message("no-signature", COMPACT, lambda token: token.rpartition(".")[0]),
    message("header-alone", COMPACT, lambda token: token.partition(".")[0]),
    message("a-dot-more", COMPACT, lambda token: f"{token}."),
    message("a-part-more", COMPACT, lambda token: f"{token}.AAAA"),
    message("encrypted", "RFC 7516 §7.1", lambda token: f"{token}.AAAA.AAAA"),
    message("empty", COMPACT, lambda token: ""),
    message("octets", COMPACT, lambda token: token.encode()),
    message("nothing", COMPACT, lambda token: None),
    message("json-general", "RFC 7515 §7.2.1", by.as_json),
    *(message(f"{name}-in-part-{number}", BASE64, part(number, change)) for number in (0, 1, 2) for name, change in {
        "padding": lambda text: text + "=" * (-len(text) % 4 or 4),
        "space": lambda text: f"{text} ",
        "spaces-before": lambda text: f"  {text}",
        "line-end": lambda text: f"{text[:4]}\n{text[4:]}",
        "question-mark": lambda text: f"{text[:-1]}?{text[-1]}",
        "hash-signs": lambda text: f"{text}####",
        "plus-and-slash": lambda text: f"{text[:-2]}+/",
        "one-character-more": lambda text: text + "A" * (-len(text) % 4 + 1),
        "zero-octet": lambda text: f"{text}\0",
    }.items()),
    message("unused-bits-in-the-signature", "RFC 4648 §3.5", part(2, by.with_unused_bits)),
    message("unused-bits-in-the-header", "RFC 4648 §3.5", part(0, by.with_unused_bits)),
]  # fmt: skip

KEYS = [
    key("key-for-encryption", "RFC 7517 §4.2", use="enc"),
    key("key-ops-sign", "RFC 7517 §4.3", use=None, key_ops=["sign"]),
    key("key-ops-encrypt", "RFC 7517 §4.3", "RS256", use=None, key_ops=["encrypt", "decrypt"]),
    key("key-of-another-alg", "RFC 7517 §4.4", alg="ES384"),
    key("key-of-another-alg-rsa", "RFC 7517 §4.4", "RS256", alg="RS512"),
    key("key-of-an-invented-alg", "RFC 7517 §4.4", alg="ES255"),
    key("key-with-another-id", "RFC 7515 §4.1.4", kid="other"),
    key("key-of-another-kind", "RFC 7517 §4.1", kty="RSA"),
    key("key-without-kind", "RFC 7517 §4.1", kty=None),
    key("key-on-another-curve", "RFC 7518 §6.2.1.1", crv="P-384"),
    key("key-on-a-bitcoin-curve", "RFC 8812 §3.1", crv="secp256k1"),
    key("key-on-an-unknown-curve", "RFC 7517 §5", crv="brainpoolP256r1"),
    key("key-on-an-unknown-curve-of-edwards", "RFC 7517 §5", "EdDSA", crv="Ed25520"),
    key("key-off-its-curve", "RFC 7518 §6.2.1", y=b64url(bytes(31) + b"\1")),
    key("key-at-zero", "RFC 7518 §6.2.1", x=b64url(bytes(32)), y=b64url(bytes(32))),
    key("key-of-x25519", "RFC 8037 §3.2", "EdDSA", crv="X25519"),
    key("key-with-exponent-1", "RFC 8017 §3.1", "RS256", e="AQ"),
    key("key-with-even-exponent", "RFC 8017 §3.1", "RS256", e="Ag"),
    key("key-without-modulus", "RFC 7518 §6.3.1.1", "RS256", n=None),
    key("key-published-whole", "RFC 7517 §9.2", **jwk_of(private_key("ES256"), whole=True)),
    key("key-published-whole-rsa", "RFC 7517 §9.2", "RS256", **jwk_of(private_key("RS256"), whole=True)),
    key("key-that-echoes-one-private-part", "RFC 7517 §9.2", "RS256", qi="AQAB"),
    Row("no-keys", "RFC 7515 §5.2", lambda token, keys: (token, [])),
    by.short_key("key-of-1024-bits", zeros=0),
    by.short_key("key-of-1024-bits-after-zeros", zeros=128),
    *(by.short_secret(size) for size in (0, 1, 31)),
    *(by.brought_along(member) for member in ("jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256")),
]  # fmt: skip

ROWS = [*SIGNATURES, *FORMS, *KEYS]


@pytest.mark.parametrize("alg", OURS)
def test_the_message_that_every_row_departs_from_verifies(alg: str) -> None:
    assert read_jws(good(alg), [published(alg)], [alg]).payload == PAYLOAD


def test_the_block_that_the_rows_depart_from_is_the_signature_itself() -> None:
    """RSASSA-PKCS1-v1_5 has no randomness, so that the bare function must give what the library does."""
    assert block()(good("RS256")) == good("RS256")


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_what_does_not_verify_is_refused(row: Row) -> None:
    token, keys = row.make(good(row.alg), [published(row.alg)])
    for algs in ([row.alg], OURS):
        with pytest.raises(IdentityError) as refused:
            read_jws(token, keys, algs)
        assert not token or str(token) not in str(refused.value)


def test_each_row_has_a_name_of_its_own_and_a_clause() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(row.clause for row in ROWS)


REGISTERED = (
    *("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"),
    *("ES256K", "EdDSA", "none"),
)
"""RFC 7518 §3.1, RFC 8037 §5, RFC 8812 §4.2."""


@pytest.mark.parametrize("alg", REGISTERED)
def test_of_all_registered_algorithms_the_one_that_was_named_is_accepted_and_no_other(alg: str) -> None:
    token, own = signed_as(alg)
    keys = [own, *(signed_as(other)[1] for other in ("RS256", "ES256", "ES384", "ES512", "EdDSA") if other != alg)]
    for accepted in (*REGISTERED, *OURS):
        if accepted == alg and alg in OURS:
            assert read_jws(token, keys, [accepted]).payload == PAYLOAD
        else:
            with pytest.raises(IdentityError):
                read_jws(token, keys, [accepted])


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "ES384", "EdDSA"])
@pytest.mark.parametrize("form", ["PEM", "DER", "JWK", "number"])
def test_a_public_key_is_never_taken_for_a_secret(alg: str, form: str) -> None:
    public, jwk = key_of(alg).public_key(), published(alg)
    secret = {
        "PEM": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "JWK": json.dumps(jwk).encode(),
        "number": decoded(jwk.get("n") or jwk["x"]),
    }[form]
    signed = f"{b64url(json.dumps({'alg': 'HS256', 'kid': 'k'}).encode())}.{b64url(PAYLOAD)}"
    token = f"{signed}.{b64url(hmac.digest(secret, signed.encode(), 'sha256'))}"
    for algs in ([alg], ["HS256"], OURS):  # even where HS256 is accepted
        with pytest.raises(IdentityError):
            read_jws(token, [jwk], algs)


@pytest.mark.parametrize("alg", OURS)
def test_a_message_with_any_other_character_is_refused(alg: str) -> None:
    """Also one that stands for the same octets: nobody can make a second text of one message."""
    token, keys = good(alg), [published(alg)]
    step = max(1, len(token) // 60)
    for at in {*range(0, len(token), step), token.index("."), token.rindex("."), len(token) - 1}:
        for other in "A_.=" if token[at] != "A" else "BQ":
            if other != token[at]:
                with pytest.raises(IdentityError):
                    read_jws(f"{token[:at]}{other}{token[at + 1 :]}", keys, [alg])
