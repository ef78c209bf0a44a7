"""`token --as`: the forms that curl, git, mail programs and kubectl read; curl and git themselves judge theirs."""
from __future__ import annotations

import base64
import json
import shutil
from typing import Any

import pytest

from tests.support.place import Place, failure

pytestmark = pytest.mark.slow
AT = "2099-01-02T03:04:05Z"
EMAIL = {"issuer": "https://p.example", "subject": "s", "claims": {"email": "robin@p.example"}}


def token_of(place: Place, **more: Any) -> str:
    return str(place.user(expires_at=AT, **more)["token"])


@pytest.mark.posix
@pytest.mark.skipif(not shutil.which("curl"), reason="no curl")
async def test_curl_reads_the_header_from_its_standard_input(place: Place) -> None:
    assert (await place.grants()).code == 0
    url = f"{place.provider.api_url}/me"
    line = f"slyapi token app.json user.json --as header | curl -sS -H @- -w '%{{http_code}}' -o /dev/null {url}"
    ended = await place.shell(line)
    assert (ended.out, ended.err) == ("200", "")


@pytest.mark.posix
@pytest.mark.skipif(not shutil.which("git"), reason="no git")
@pytest.mark.parametrize("host", ["its own", "another"])
async def test_git_fills_in_a_credential_for_the_clients_own_addresses_alone(place: Place, host: str) -> None:
    token = token_of(place)
    origin = place.provider.origin if host == "its own" else "http://127.0.0.1:1"
    protocol, _, address = origin.partition("://")
    helper = "-c credential.helper= -c credential.helper='!slyapi token app.json user.json --as git'"
    asked = f"protocol={protocol}\\nhost={address}\\n\\n"
    ended = await place.shell(f"printf '{asked}' | GIT_TERMINAL_PROMPT=0 git {helper} credential fill")
    if host == "another":
        assert ended.code != 0
        assert token not in ended.out + ended.err
        return
    assert ended.code == 0, ended
    assert {"username=oauth2", f"password={token}"} <= {*ended.out.splitlines()}
    for operation in ("approve", "reject"):
        filled = ended.out.replace("\n", "\\n")
        assert (await place.shell(f"printf '{filled}\\n' | git {helper} credential {operation}")).code == 0
    assert place.reads("user.json")["token"] == token


@pytest.mark.parametrize("word", ["user.json", "", "app.json"])
async def test_gits_own_word_is_missed_where_it_is_missing(place: Place, word: str) -> None:
    token_of(place)
    words = ["app.json", *([word] if word else [])]
    failure(place, await place.runs("token", *words, "--as", "git"), 2, "get, store or erase")


async def test_a_mail_program_gets_the_initial_response_of_xoauth2(place: Place) -> None:
    token = token_of(place, identity=EMAIL)
    for more, mailbox in (([], "robin@p.example"), (["--user", "kim@p.example"], "kim@p.example")):
        ended = await place.runs("token", "app.json", "user.json", "--as", "xoauth2", *more)
        assert base64.b64decode(ended.out) == f"user={mailbox}\1auth=Bearer {token}\1\1".encode()
    token_of(place)
    failure(place, await place.runs("token", "app.json", "user.json", "--as", "xoauth2"), 2, "--user ADDRESS")


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v9", None])
async def test_kubectl_gets_an_exec_credential_of_the_version_that_it_asked_for(
    place: Place, version: str | None
) -> None:
    token = token_of(place)
    if version is not None:
        info = {"kind": "ExecCredential", "apiVersion": f"client.authentication.k8s.io/{version}", "spec": {}}
        place.env["KUBERNETES_EXEC_INFO"] = json.dumps(info)
    ended = await place.runs("token", "app.json", "user.json", "--as", "exec-credential")
    assert json.loads(ended.out) == {
        "apiVersion": f"client.authentication.k8s.io/{'v1beta1' if version == 'v1beta1' else 'v1'}",
        "kind": "ExecCredential",
        "status": {"token": token, "expirationTimestamp": AT},
    }


@pytest.mark.parametrize("form", ["header", "xoauth2", "exec-credential", "text", "json"])
async def test_a_token_that_is_bound_to_a_key_has_no_form_for_other_programs(place: Place, form: str) -> None:
    key = {"kty": "EC", "crv": "P-256", "x": "a", "y": "b", "d": "c"}
    token = token_of(place, dpop_key=key, token_type="DPoP")
    ended = await place.runs("token", "app.json", "user.json", "--as", form)
    if form in ("text", "json"):
        assert token in ended.out
    else:
        failure(place, ended, 2, "DPoP", "call")


async def test_json_and_another_form_exclude_each_other(place: Place) -> None:
    token_of(place)
    failure(place, await place.runs("token", "app.json", "user.json", "--as", "header", "--json"), 2, "exclude")
