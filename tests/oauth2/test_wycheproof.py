"""Wycheproof's cases of JSON Web Signatures, where `shared/data` is beside the project.

`test_jws_refusals.py` makes cases of the same kinds, and always runs.
"""
from __future__ import annotations

from typing import Any

from SlyAPI.errors import IdentityError
from SlyAPI.oauth2.messages.jose import ASYMMETRIC
from SlyAPI.oauth2.messages.signed_tokens import read_jws
from tests.support.shared_data import vectors


def test_a_message_is_what_the_vectors_say() -> None:
    cases = [(group["key"], *case) for group in vectors("vectors_jws.json") for case in group["tests"]]
    assert len(cases) > 300
    assert [number for key, number, _, token, valid in cases if is_accepted(token, key) is not valid] == []


def is_accepted(token: str, key: dict[str, Any]) -> bool:
    try:
        return bool(read_jws(token, [key], (*ASYMMETRIC, "HS256")).payload)
    except IdentityError:
        return False
