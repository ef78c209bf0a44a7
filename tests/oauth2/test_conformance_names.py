"""Each test that OpenID's conformance suite has for relying parties, and where ours is.

The rule: a name is a row of the tables in `tests/support/identity_rows.py`, or has a test or a reason here. The names
are those of the suite of August 2026: all of its OpenID Connect Core plans (older versions included), and of FAPI 2.0
those that change an id_token or the redirect.
"""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.identity_rows import ALL

TESTS = Path(__file__).parents[1]
CORE = "oidcc-client-test"
FAPI = "fapi2-security-profile-final-client-test"

SUITE = {
    CORE: """
        3rd-party-init-login aggregated-claims client-secret-basic discovery-issuer-mismatch discovery-jwks-uri-keys
        discovery-openid-config discovery-webfinger-acct discovery-webfinger-url distributed-claims
        dynamic-registration form-post-error idtoken-sig-none idtoken-sig-rs256 invalid-athash invalid-aud
        invalid-chash invalid-iss invalid-sig-es256 invalid-sig-hs256 invalid-sig-rs256 kid-absent-multiple-jwks
        kid-absent-single-jwks missing-athash missing-aud missing-chash missing-iat missing-sub mtls-endpoint-aliases
        nonce-invalid nonce-unless-code-flow refresh-token refresh-token-invalid-aud refresh-token-invalid-azp
        refresh-token-invalid-issuer refresh-token-invalid-sub request-uri-signed-none request-uri-signed-rs256
        rp-backchannel-rpinitlogout rp-backchannel-rpinitlogout-alg-none rp-backchannel-rpinitlogout-no-event
        rp-backchannel-rpinitlogout-with-nonce rp-backchannel-rpinitlogout-wrong-alg
        rp-backchannel-rpinitlogout-wrong-aud rp-backchannel-rpinitlogout-wrong-event
        rp-backchannel-rpinitlogout-wrong-iss rp-frontchannel-opinitlogout rp-frontchannel-rpinitlogout rp-init-logout
        rp-init-logout-no-state rp-init-logout-other-state scope-userinfo-claims session-management
        signing-key-rotation signing-key-rotation-just-before-signing userinfo-bearer-body userinfo-bearer-header
        userinfo-invalid-sub userinfo-signed
    """,
    FAPI: """
        ensure-authorization-response-with-invalid-missing-state-fails
        ensure-authorization-response-with-invalid-state-fails invalid-alternate-alg invalid-aud
        invalid-authorization-response-iss invalid-expired-exp invalid-iss invalid-missing-aud invalid-missing-exp
        invalid-missing-iss invalid-missing-nonce invalid-nonce invalid-null-alg invalid-secondary-aud
        remove-authorization-response-iss valid-aud-as-array
    """,
}
ROWS = {
    f"{FAPI}-invalid-alternate-alg": "PS256-not-registered",
    f"{FAPI}-invalid-aud": f"{CORE}-invalid-aud",
    f"{FAPI}-invalid-expired-exp": "exp-past",
    f"{FAPI}-invalid-iss": f"{CORE}-invalid-iss",
    f"{FAPI}-invalid-missing-aud": f"{CORE}-missing-aud",
    f"{FAPI}-invalid-missing-exp": "exp-missing",
    f"{FAPI}-invalid-missing-iss": "iss-missing",
    f"{FAPI}-invalid-missing-nonce": "nonce-missing",
    f"{FAPI}-invalid-nonce": f"{CORE}-nonce-invalid",
    f"{FAPI}-invalid-null-alg": f"{CORE}-idtoken-sig-none",
    f"{FAPI}-invalid-secondary-aud": "aud-several-without-azp",
}
"""Rows that have another name."""
ELSEWHERE = {
    "tokens/test_client_auth.py": {
        f"{CORE}-client-secret-basic": "test_the_exchange_with_basic_is_the_example_of_rfc_6749_section_4_1_3",
    },
    "oauth2/test_discovery.py": {
        f"{CORE}-discovery-issuer-mismatch":
            "test_an_issuer_is_compared_as_it_is_written_and_the_error_shows_the_other_spelling",
        f"{CORE}-discovery-openid-config": "test_the_metadata_give_what_a_client_needs",
    },
    "oauth2/test_identity.py": {
        f"{CORE}-discovery-jwks-uri-keys": "test_where_the_metadata_offer_several_algorithms_each_is_accepted",
        f"{CORE}-idtoken-sig-rs256": "test_rs256_is_what_a_client_without_an_algorithm_accepts",
        f"{CORE}-kid-absent-multiple-jwks": "test_a_token_without_a_key_id_is_verified_by_any_published_key",
        f"{CORE}-kid-absent-single-jwks": "test_a_token_without_a_key_id_is_verified_by_any_published_key",
        f"{CORE}-missing-athash": "test_what_the_specification_allows_is_accepted",
        f"{CORE}-nonce-unless-code-flow": "test_each_login_has_a_nonce_of_its_own_which_it_keeps",
        f"{CORE}-refresh-token": "test_the_identity_outlives_a_restart_and_a_refresh",
        f"{CORE}-scope-userinfo-claims": "test_userinfo_are_those_of_the_person",
        f"{CORE}-signing-key-rotation": "test_rotated_keys_cost_one_request_and_no_outage",
        f"{CORE}-userinfo-bearer-header": "test_userinfo_are_those_of_the_person",
        f"{CORE}-userinfo-signed": "test_signed_userinfo_are_verified",
        f"{FAPI}-valid-aud-as-array": "test_what_the_specification_allows_is_accepted",
    },
    "oauth2/test_registration.py": {
        f"{CORE}-dynamic-registration": "test_a_registered_client_can_grant_after_its_file_was_read",
    },
    "oauth2/test_client_authentication.py": {
        f"{CORE}-mtls-endpoint-aliases": "test_a_certificate_is_presented_at_the_alias_and_to_the_api",
    },
    "end_to_end/test_web_sign_in.py": {
        f"{CORE}-rp-backchannel-rpinitlogout":
            "test_signing_out_there_ends_the_session_of_that_person_in_that_browser_alone",
        f"{CORE}-rp-init-logout": "test_signing_out_here_leads_to_signing_out_there",
        f"{CORE}-rp-init-logout-no-state": "test_signing_out_here_leads_to_signing_out_there",
        f"{CORE}-signing-key-rotation-just-before-signing":
            "test_two_people_are_two_accounts_and_a_rotated_key_stops_nobody",
    },
    "oauth2/test_authorization_code.py": {
        f"{FAPI}-ensure-authorization-response-with-invalid-missing-state-fails":
            "test_without_our_state_nothing_is_believed",
        f"{FAPI}-ensure-authorization-response-with-invalid-state-fails": "test_without_our_state_nothing_is_believed",
        f"{FAPI}-invalid-authorization-response-iss": "test_the_issuer_is_compared_where_it_is_known",
        f"{FAPI}-remove-authorization-response-iss": "test_the_issuer_is_compared_where_it_is_known",
    },
}  # fmt: skip
"""Tests of other files, by file."""
NOT_OURS = {
    f"{CORE}-3rd-party-init-login": "an address of the application, which calls begin_login",
    f"{CORE}-aggregated-claims": "claims about claims are given to the program as they are",
    f"{CORE}-distributed-claims": "claims about claims are given to the program as they are",
    f"{CORE}-discovery-webfinger-acct": "an issuer is found by its URL, not by a person's address",
    f"{CORE}-discovery-webfinger-url": "an issuer is found by its URL, not by a person's address",
    f"{CORE}-form-post-error": "response_mode=form_post is not asked for",
    f"{CORE}-invalid-chash": "of the hybrid flow, which OAuth 2.1 does not have",
    f"{CORE}-missing-chash": "of the hybrid flow, which OAuth 2.1 does not have",
    f"{CORE}-request-uri-signed-none": "request objects by reference are not sent",
    f"{CORE}-request-uri-signed-rs256": "request objects by reference are not sent",
    f"{CORE}-rp-frontchannel-opinitlogout": "frames of another site get no cookies in today's browsers",
    f"{CORE}-rp-frontchannel-rpinitlogout": "frames of another site get no cookies in today's browsers",
    f"{CORE}-rp-init-logout-other-state": "the application compares the state of its own page",
    f"{CORE}-session-management": "frames of another site get no cookies in today's browsers",
    f"{CORE}-userinfo-bearer-body": "the token is in the header alone (RFC 6750 §2.2)",
}
NAMES = [f"{prefix}-{name}" for prefix, names in SUITE.items() for name in names.split()]


@pytest.mark.parametrize("name", NAMES)
def test_each_name_of_the_suite_is_a_row_or_has_a_test_or_a_reason(name: str) -> None:
    rows = {row.name for row in ALL}
    tests = [(path, names[name]) for path, names in ELSEWHERE.items() if name in names]
    assert [name in rows, ROWS.get(name) in rows, len(tests) == 1, name in NOT_OURS].count(True) == 1
    for path, test in tests:
        assert re.search(rf"^(async )?def {test}\(", (TESTS / path).read_text(encoding="utf-8"), re.M)


def test_no_name_is_invented() -> None:
    ours = [row.name for row in ALL if row.name.startswith("oidcc-")]
    assert {*ours, *ROWS, *(name for names in ELSEWHERE.values() for name in names), *NOT_OURS} == {*NAMES}
