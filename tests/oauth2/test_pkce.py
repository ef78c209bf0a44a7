"""RFC 7636."""
from __future__ import annotations

import re

from SlyAPI.oauth2.messages.pkce import new_verifier, s256_challenge


def test_the_challenge_is_that_of_rfc_7636_appendix_b() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert s256_challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_a_verifier_has_43_characters_of_its_alphabet_and_is_fresh_each_time() -> None:
    verifiers = {new_verifier() for _ in range(200)}
    assert len(verifiers) == 200
    assert all(re.fullmatch(r"[A-Za-z0-9._~-]{43}", verifier) for verifier in verifiers)
