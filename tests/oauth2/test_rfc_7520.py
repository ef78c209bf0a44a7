"""The examples of RFC 7520: signed messages by the algorithms that we accept hold, and all others are refused."""
from __future__ import annotations

import json
from base64 import urlsafe_b64decode

import pytest

from SlyAPI.errors import IdentityError
from SlyAPI.oauth2.messages.jose import ASYMMETRIC
from SlyAPI.oauth2.messages.signed_tokens import read_jws, read_jwt
from tests.support.issuer import b64url

OURS = (*ASYMMETRIC, "HS256")

# §3.1, §3.3, §3.5
EC = {
    "kty": "EC",
    "kid": "bilbo.baggins@hobbiton.example",
    "use": "sig",
    "crv": "P-521",
    "x": "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",
    "y": "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1",
}
RSA = {
    "kty": "RSA",
    "kid": "bilbo.baggins@hobbiton.example",
    "use": "sig",
    "n": (
        "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRB"
        "SFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD"
        "1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_"
        "qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw"
    ),
    "e": "AQAB",
}
MAC = {
    "kty": "oct",
    "kid": "018c0ae5-4d9b-471b-bfd6-eef314bc7037",
    "use": "sig",
    "alg": "HS256",
    "k": "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg",
}
# §4
PAYLOAD = (
    "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5k"
    "IGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4"
)
RS256 = (
    # §4.1
    "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9."
    f"{PAYLOAD}."
    "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA"
    "78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQ"
    "dLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18"
    "kDquDg"
)
PS384 = (
    # §4.2
    "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9."
    f"{PAYLOAD}."
    "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcb"
    "UrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8I"
    "mUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-"
    "X72Eaw"
)
ES512 = (
    # §4.3
    "eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9."
    f"{PAYLOAD}."
    "AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDyYjnAMDxX"
    "Pn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2"
)
HS256 = (
    # §4.4
    "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9."
    f"{PAYLOAD}."
    "s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0"
)
# §4.6: a header whose key id is not protected
UNPROTECTED = {
    "payload": PAYLOAD,
    "protected": "eyJhbGciOiJIUzI1NiJ9",
    "header": {"kid": MAC["kid"]},
    "signature": "bWUSVaxorn7bEF1djytBd0kHv70Ly5pvbomzMWSOr20",
}
KEYS = [EC, RSA, MAC]


@pytest.mark.parametrize(("token", "alg", "key"), [(RS256, "RS256", RSA), (HS256, "HS256", MAC)])
def test_a_message_by_an_algorithm_of_ours_holds(token: str, alg: str, key: dict[str, str]) -> None:
    message = read_jws(token, KEYS, [alg])
    assert message.header == {"alg": alg, "kid": key["kid"]}
    assert message.payload == urlsafe_b64decode(PAYLOAD + "==")
    assert message.payload.decode().endswith("swept off to.")
    for others in ([other for other in OURS if other != alg], []):
        with pytest.raises(IdentityError):
            read_jws(token, KEYS, others)
    with pytest.raises(IdentityError):
        read_jws(token, [other for other in KEYS if other is not key], [alg])


@pytest.mark.parametrize("token", [RS256, HS256])
def test_a_message_that_is_not_claims_is_not_a_token(token: str) -> None:
    with pytest.raises(IdentityError):
        read_jwt(token, KEYS, OURS)


def members(token: str) -> dict[str, str]:
    """The parts as JSON has them (RFC 7515 §7.2.2)."""
    return dict(zip(("protected", "payload", "signature"), token.split("."), strict=True))


REFUSED = {
    "§4.2, PS384": PS384,
    "§4.3, ES512": ES512,
    "§4.1.3, general JSON": json.dumps({"payload": PAYLOAD, "signatures": [members(RS256)]}),
    "§4.4.3, flattened JSON": json.dumps(members(HS256)),
    "§4.5, detached": "..".join(RS256.split(".")[::2]),
    "§4.6, unprotected id": json.dumps(UNPROTECTED),
    "§4.7, nothing protected": json.dumps({**UNPROTECTED, "protected": "", "header": {"alg": "HS256"}}),
    "§5.6, encrypted": (
        "eyJhbGciOiJkaXIiLCJraWQiOiI3N2M3ZTJiOC02ZTEzLTQ1Y2YtODY3Mi02MTdiNWI0NTI0M2EiLCJlbmMiOiJBMTI4R0NNIn0..refa467"
        "QzzKx6QAB.JW_i_f52hww_ELQPGaYyeAB6HYGcR559l9TYnSovc23XJoBcW29rHP8yZOZG7YhLpT1bjFuvZPjQS-m0IFtVcXkZXdH_lr_Frd"
        "Yt9HRUYkshtrMmIUAyGmUnd9zMDB2n0cRDIHAzFVeJUDxkUwVAE7_YGRPdcqMyiBoCO-FBdE-Nceb4h3-FtBP-c_BIwCPTjb9o0SbdcdREEM"
        "JMyZBH8ySWMVi1gPD9yxi-aQpGbSv_F9N4IZAxscj5g-NJsUPbjk29-s7LJAGb15wEBtXphVCgyy53CoIKLHHeJHXex45Uz9aKZSRSInZI-w"
        "jsY0yu3cT4_aQ3i1o-tiE-F8Ios61EKgyIQ4CWao8PFMj8TTnp.vbb32Xvllea2OtmHAdccRQ"
    ),
    "the signature of another section": RS256.rpartition(".")[0] + "." + PS384.rpartition(".")[2],
    "another header": f"{b64url(json.dumps({'kid': RSA['kid'], 'alg': 'RS256'}).encode())}.{RS256.partition('.')[2]}",
}


@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED)
def test_what_is_not_signed_by_an_algorithm_of_ours_in_compact_form_is_refused(token: str) -> None:
    for algs in (OURS, [*OURS, "PS384", "ES512", "none"]):
        with pytest.raises(IdentityError):
            read_jws(token, KEYS, algs)
