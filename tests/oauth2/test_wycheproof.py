"""Wycheproof's cases of JSON Web Signatures and keys, where the environment says where they are.

    WYCHEPROOF=.../testvectors_v1 python -m pytest tests/oauth2/test_wycheproof.py

The rule: a message that the vectors call invalid is refused, except those that are listed here with the reason.
`test_jws_refusals.py` makes cases of the same kinds, and always runs.
"""
from __future__ import annotations

import json
import os
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from SlyAPI.errors import IdentityError
from SlyAPI.oauth2.messages.jose import ASYMMETRIC
from SlyAPI.oauth2.messages.signed_tokens import read_jws

FOLDER = os.environ.get("WYCHEPROOF", "")
OURS = (*ASYMMETRIC, "HS256")

pytestmark = pytest.mark.skipif(not FOLDER, reason="WYCHEPROOF names no folder of vectors")

SIGNATURES, KEYS = "json_web_signature_test", "json_web_key_test"
EXCEPTIONS = {
    (SIGNATURES, 367): "the file has the same message as case 357, which is valid",
    (SIGNATURES, 370): "the file has the same message as case 357, which is valid",
    (SIGNATURES, 372): "valid to a reader that skips characters outside base64url (RFC 7515 §2 forbids them)",
    (SIGNATURES, 373): "valid to a reader that skips characters outside base64url (RFC 7515 §2 forbids them)",
    (KEYS, 1): "secrets are never read from a published set: HS256 has the client's own secret",
    (KEYS, 4): "of several keys with one id each is tried, because issuers publish such sets",
    (KEYS, 7): "whether an issuer's key is weak by its maker's mistake (ROCA) is not examined",
}


def cases(name: str) -> Iterator[Any]:
    if not FOLDER:
        return
    for group in json.loads((Path(FOLDER) / f"{name}.json").read_text())["testGroups"]:
        key = group.get("public", group["private"])
        for case in group["tests"]:
            yield pytest.param((name, case["tcId"]), key.get("keys", [key]), case, id=f"{name}-{case['tcId']}")


@pytest.mark.parametrize(("number", "keys", "case"), [*cases(SIGNATURES), *cases(KEYS)])
def test_a_message_is_what_the_vectors_say(number: tuple[str, int], keys: list[Any], case: dict[str, Any]) -> None:
    token = case["jws"] if isinstance(case["jws"], str) else json.dumps(case["jws"])
    valid = (case["result"] == "valid") is not (number in EXCEPTIONS)
    if valid and is_for_us(token):
        assert read_jws(token, keys, OURS).payload
        return
    with pytest.raises(IdentityError):
        read_jws(token, keys, OURS)


def is_for_us(token: str) -> bool:
    """Whether its algorithm is one that we accept, and it has a payload, as each JWT does."""
    header, payload, _ = token.split(".")
    return bool(payload) and json.loads(urlsafe_b64decode(header + "==")).get("alg") in OURS
