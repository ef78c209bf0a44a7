"""What a DPoP proof costs beside its signature, as a share of that signature: a ratio that no machine changes much."""
from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from SlyAPI.oauth2.messages.dpop import dpop_proof
from SlyAPI.oauth2.messages.jose import load_signing_key, new_key

GOAL = 0.5
SLACK = 1.5
"""For a machine that is busy; before its parts were prepared once for each key, a proof cost 1.5 signatures more."""


def least(call: Callable[[], object], other: Callable[[], object], rounds: int = 40) -> tuple[float, float]:
    """The least CPU seconds of both, in turn, so that other load meets both alike."""
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for one, into in zip((call, other), spent, strict=True):
            start = time.process_time()
            one()
            into.append(time.process_time() - start)
    return min(spent[0]), min(spent[1])


def test_a_proof_costs_little_more_than_its_signature() -> None:
    key, bare = load_signing_key(new_key()), ec.generate_private_key(ec.SECP256R1())
    url, token, nonce = "https://api.example/v1/notes?page=1", "t" * 200, "n" * 40

    async def proofs() -> None:
        for _ in range(100):
            await dpop_proof(key, "GET", url, now=1e9, nonce=nonce, access_token=token)

    def signatures() -> None:
        for _ in range(100):
            bare.sign(b"x" * 600, ec.ECDSA(hashes.SHA256()))

    with asyncio.Runner() as runner:
        proof, signature = least(lambda: runner.run(proofs()), signatures)
    assert (proof - signature) / signature <= GOAL * SLACK
