"""A client that proves itself by a JWT of its platform: where it comes from, when it is read, what it excludes."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from SlyAPI import ClientCredentials, OAuth2App, sources
from SlyAPI.errors import ConfigError, CredentialsError, TokenError
from SlyAPI.testing import GRANT_TYPES
from tests.conftest import REDIRECT_URI
from tests.testing.signing import ClientKey

if TYPE_CHECKING:
    from tests.conftest import Practice, Practise

TYPE = "urn:ietf:params:oauth:client-assertion-type"
CLUSTER, WORKLOAD = "https://cluster.example", "system:serviceaccount:prod:reporter"


class Platform:
    """Signs tokens of one workload for the provider, each with a number, and counts them."""

    def __init__(self, practice: Practice) -> None:
        self.practice, self.key, self.signed = practice, ClientKey(), 0
        practice.provider.trust_issuer(CLUSTER, self.key.jwks, [WORKLOAD])

    def token(self, subject: str = WORKLOAD) -> str:
        self.signed += 1
        now = int(self.practice.clock())
        claims = {"iss": CLUSTER, "sub": subject, "aud": self.practice.provider.token_url, "iat": now}
        return self.key.sign({**claims, "exp": now + 3600, "number": self.signed})


async def federated(practise: Practise, **settings: Any) -> tuple[Practice, Platform]:
    metadata = {"token_endpoint_auth_method": "private_key_jwt"}
    practice = await practise(client_secret=None, client_metadata=metadata, grant_types=GRANT_TYPES, **settings)
    practice.app.par_uri = f"{practice.provider.origin}/par"
    practice.app.introspect_uri = f"{practice.provider.origin}/introspect"
    return practice, Platform(practice)


def sent(practice: Practice, name: str) -> list[str]:
    """A field of the requests with the client's authentication, in order."""
    return [seen.parameters[name] for seen in practice.provider.log if "client_assertion" in seen.parameters]


async def test_it_is_read_anew_for_each_request_to_every_endpoint(practise: Practise) -> None:
    practice, platform = await federated(practise)
    app = practice.app
    app.client_assertion, app.client_auth = platform.token, "post"
    user = await practice.grant()
    user.client_auth = "basic"  # of a time when the client had a secret
    user = await app.refresh(None, user, now=practice.clock())
    await app.push_login(REDIRECT_URI, "notes", now=practice.clock())
    assert (await app.introspect(user.token)).active
    assert len({*sent(practice, "client_assertion")}) == platform.signed == 4
    assert {*sent(practice, "client_assertion_type")} == {f"{TYPE}:jwt-bearer"}


async def test_a_request_that_is_repeated_for_a_nonce_has_a_new_one(practise: Practise) -> None:
    practice, platform = await federated(practise, dpop="required", dpop_nonces=True)
    practice.app.client_assertion, practice.app.dpop = platform.token, True
    assert (await practice.grant()).token
    assert len({*sent(practice, "client_assertion")}) == platform.signed == 2


@pytest.mark.parametrize("kind", ["file", "command", "jwt-spiffe"])
async def test_a_client_file_names_where_it_comes_from(practise: Practise, kind: str) -> None:
    practice, platform = await federated(practise)
    (practice.folder / "token").write_text(platform.token() + "\n")
    command = [sys.executable, "-c", f"print(open({str(practice.folder / 'token')!r}).read().strip())"]
    source = {"command": command} if kind == "command" else {"file": "token"}
    members = {"id": "practice-client", "token_uri": practice.provider.token_url, "client_assertion": source}
    members |= {"client_assertion_type": kind} if kind == "jwt-spiffe" else {}
    for name in ("app.json", "copy.json"):
        (practice.folder / name).write_text(json.dumps(members))
        app = OAuth2App.from_json_file(practice.folder / name)
        await ClientCredentials(app, ["notes"], clock=practice.clock).token()
        members = app.to_dict()
    types = sent(practice, "client_assertion_type")
    assert types == [f"{TYPE}:{'jwt-spiffe' if kind == 'jwt-spiffe' else 'jwt-bearer'}"] * 2


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ({"kubernetes": True}, "/var/run/secrets/kubernetes.io/serviceaccount/token"),
        ({"github_actions": "api://AzureADTokenExchange"}, "GitHub Actions"),
        ({"file": "/no/such/token"}, "/no/such/token"),
        (sources.from_env("NO_SUCH_TOKEN"), "NO_SUCH_TOKEN"),
        (lambda: None, "client_assertion"),
    ],
    ids=["kubernetes", "github", "file", "env", "nothing"],
)
async def test_a_source_that_has_none_is_named_and_nothing_is_sent(practise: Practise, source: Any, named: str) -> None:
    practice, _ = await federated(practise)
    practice.app.client_assertion = source
    with pytest.raises(ConfigError, match=named):
        await practice.app.request_token("notes", now=practice.clock())
    assert practice.provider.log == []


WRONG: dict[str, dict[str, Any]] = {
    "a secret": {"client_assertion": {"kubernetes": True}, "secret": "s3cret"},
    "a key": {"client_assertion": {"kubernetes": True}, "key": "key.pem"},
    "a type": {"client_assertion": {"kubernetes": True}, "client_assertion_type": "saml2-bearer"},
    "false": {"client_assertion": {"kubernetes": False}},
    "two": {"client_assertion": {"kubernetes": True, "file": "token"}},
    "unknown": {"client_assertion": {"vault": "path"}},
    "a line of a shell": {"client_assertion": {"command": "print-token --prod"}},
    "an empty command": {"client_assertion": {"command": []}},
    "text": {"client_assertion": "eyJ.s3cret.x"},
}


@pytest.mark.parametrize("members", WRONG.values(), ids=WRONG)
async def test_what_cannot_be_one_or_stands_beside_another_proof_is_refused(members: dict[str, Any]) -> None:
    uris = {"auth_uri": "https://p.example/a", "token_uri": "https://p.example/t"}
    with pytest.raises(CredentialsError, match="client_assertion") as caught:
        OAuth2App.from_json_obj({"id": "c", **uris, **members})
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ConfigError, match="client_assertion"):
        await OAuth2App(**{"id": "c", "secret": None, **uris, **members}).request_token()


def test_a_callable_stays_out_of_the_client_file_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    app = OAuth2App("c", None, "", "https://p.example/t", client_assertion=sources.kubernetes())
    assert "client_assertion" not in app.to_dict()
    assert "left out" in caplog.text


async def test_a_workload_that_the_provider_does_not_know_is_refused_without_its_token(practise: Practise) -> None:
    practice, platform = await federated(practise)
    token = platform.token("system:serviceaccount:dev:reporter")
    practice.app.client_assertion = lambda: token
    with pytest.raises(TokenError, match="invalid_client") as caught:
        await practice.app.request_token("notes", now=practice.clock())
    assert token not in repr(caught.value) + str(caught.value)
