"""Programs on other OAuth libraries, without an event loop, tested with the pytest plugin."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import pytest
import requests
from authlib.common.errors import AuthlibBaseError  # type: ignore[import-untyped]
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession  # type: ignore[import-untyped]
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession
from google.oauth2.credentials import Credentials
from oauthlib.oauth2 import OAuth2Error  # type: ignore[import-untyped]
from requests_oauthlib import OAuth2Session  # type: ignore[import-untyped]

from SlyAPI import OAuth2App, OAuth2User
from SlyAPI.testing import Clock, PracticeProvider

REDIRECT_URI = "http://127.0.0.1:8080"


class Program(Protocol):
    """A program that shows the weather; `saved` holds the tokens that it keeps for its next start."""

    saved: dict[str, Any]
    Refused: type[Exception]

    def __init__(self, app: OAuth2App, api_url: str) -> None: ...

    def start(self, user: OAuth2User) -> None:
        """With tokens of an earlier run."""

    def get(self, path: str) -> requests.Response: ...


class WithAuthlib:
    Refused = AuthlibBaseError

    def __init__(self, app: OAuth2App, api_url: str) -> None:
        self.api_url, self.app = api_url, app
        self.saved: dict[str, Any] = {}
        self.session: Any = AuthlibSession(
            app.id,
            app.secret,
            scope="weather.read notes",
            redirect_uri=REDIRECT_URI,
            token_endpoint=app.token_uri,
            update_token=self.save,
            code_challenge_method="S256",
        )

    def save(self, token: dict[str, Any], **_: str) -> None:
        self.saved = dict(token)

    def start(self, user: OAuth2User) -> None:
        self.session.token = tokens_of(user)

    def log_in(self, browse: Callable[[str], str]) -> None:
        verifier = "v" * 43
        url, state = self.session.create_authorization_url(self.app.auth_uri, code_verifier=verifier)
        self.save(
            self.session.fetch_token(
                self.app.token_uri, authorization_response=browse(url), code_verifier=verifier, state=state
            )
        )

    def get(self, path: str) -> requests.Response:
        answer: requests.Response = self.session.get(self.api_url + path)
        return answer


class WithRequestsOAuthlib:
    Refused = OAuth2Error

    def __init__(self, app: OAuth2App, api_url: str) -> None:
        self.api_url, self.app = api_url, app
        self.saved: dict[str, Any] = {}
        self.session = OAuth2Session(
            app.id,
            scope=["weather.read", "notes"],
            redirect_uri=REDIRECT_URI,
            pkce="S256",
            auto_refresh_url=app.token_uri,
            auto_refresh_kwargs={"client_id": app.id, "client_secret": app.secret},
            token_updater=self.save,
        )

    def save(self, token: dict[str, Any]) -> None:
        self.saved = dict(token)

    def start(self, user: OAuth2User) -> None:
        self.session.token = tokens_of(user)

    def log_in(self, browse: Callable[[str], str]) -> None:
        url, _ = self.session.authorization_url(self.app.auth_uri)
        redirect = browse(url)
        self.save(
            self.session.fetch_token(
                self.app.token_uri, authorization_response=redirect, client_secret=self.app.secret
            )
        )

    def get(self, path: str) -> requests.Response:
        answer: requests.Response = self.session.get(self.api_url + path)
        return answer


class WithGoogleAuth:
    Refused = GoogleAuthError

    def __init__(self, app: OAuth2App, api_url: str) -> None:
        self.api_url, self.app = api_url, app

    def start(self, user: OAuth2User) -> None:
        self.credentials = Credentials(  # type: ignore[no-untyped-call]
            user.token,
            refresh_token=user.refresh_token,
            token_uri=self.app.token_uri,
            client_id=self.app.id,
            client_secret=self.app.secret,
        )
        self.session = AuthorizedSession(self.credentials)  # type: ignore[no-untyped-call]

    @property
    def saved(self) -> dict[str, Any]:
        return {"access_token": self.credentials.token, "refresh_token": self.credentials.refresh_token}

    def get(self, path: str) -> requests.Response:
        return self.session.get(self.api_url + path)


def tokens_of(user: OAuth2User) -> dict[str, Any]:
    assert user.expires_at
    expires_at = user.expires_at.timestamp()
    return {"access_token": user.token, "refresh_token": user.refresh_token, "expires_at": expires_at}


@pytest.fixture
def clock(practice_clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The plugin's own, behind that of tests/conftest.py, as the machine's clock: these libraries take none."""
    monkeypatch.setattr("time.time", practice_clock)
    return practice_clock


@pytest.fixture(autouse=True)
def http_on_loopback_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")


every_program = pytest.mark.parametrize("kind", [WithAuthlib, WithRequestsOAuthlib, WithGoogleAuth])
every_login = pytest.mark.parametrize("kind", [WithAuthlib, WithRequestsOAuthlib])


@pytest.fixture
def program(
    kind: type[Program], practice_app: OAuth2App, granted_user: OAuth2User, practice_provider: PracticeProvider
) -> Program:
    """The program, started with a user's tokens."""
    made = kind(practice_app, practice_provider.api_url)
    made.start(granted_user)
    return made


def browse(url: str) -> str:
    """The person's browser: where the consent page leads to."""
    return requests.get(url, allow_redirects=False).headers["Location"]


def outcomes(provider: PracticeProvider) -> list[str]:
    return [f"{seen.endpoint} {seen.outcome}" for seen in provider.log]


@every_program
def test_a_program_calls_the_api(program: Program, practice_provider: PracticeProvider) -> None:
    assert program.get("/forecast").json()["city"] == "Bergen"
    assert outcomes(practice_provider) == ["api/forecast ok"]


@every_program
def test_an_expired_token_is_refreshed_and_the_rotated_one_is_kept(
    program: Program, practice_provider: PracticeProvider, granted_user: OAuth2User, clock: Clock
) -> None:
    clock.advance(3700)
    assert program.get("/forecast").status_code == 200
    assert practice_provider.refreshes == 1
    assert program.saved["refresh_token"] != granted_user.refresh_token
    clock.advance(3700)
    assert program.get("/forecast").status_code == 200
    assert (practice_provider.refreshes, practice_provider.reuses) == (2, 0)


@every_program
@pytest.mark.parametrize(
    "fault", [PracticeProvider.spend_refresh_tokens, PracticeProvider.end_all_grants], ids=["reuse", "ended"]
)
def test_an_ended_grant_is_the_librarys_error(
    program: Program, practice_provider: PracticeProvider, clock: Clock, fault: Callable[[PracticeProvider], None]
) -> None:
    clock.advance(3700)
    fault(practice_provider)
    with pytest.raises(program.Refused, match="invalid_grant"):
        program.get("/forecast")


@every_program
def test_a_rate_limit_reaches_the_program(program: Program, practice_provider: PracticeProvider) -> None:
    practice_provider.fail_next("api", 429, retry_after=30)
    answer = program.get("/forecast")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "30")
    assert program.get("/forecast").status_code == 200


@pytest.mark.parametrize(
    ("kind", "status"), [(WithAuthlib, 401), (WithRequestsOAuthlib, 401), (WithGoogleAuth, 200)]
)
def test_a_token_revoked_before_its_time_shows_which_library_refreshes_after_a_401(
    program: Program, practice_provider: PracticeProvider, status: int
) -> None:
    practice_provider.revoke_access_tokens()
    assert program.get("/forecast").status_code == status


@every_login
@pytest.mark.practice_provider(redirect_uris=[REDIRECT_URI])
def test_a_person_logs_in(
    kind: Any, practice_app: OAuth2App, practice_provider: PracticeProvider
) -> None:
    program = kind(practice_app, practice_provider.api_url)
    program.log_in(browse)
    assert program.get("/me").json()["name"] == "Robin Practice"
    assert program.saved["refresh_token"]


@pytest.mark.parametrize(
    ("kind", "error"),
    [(WithAuthlib, "unsupported_grant_type"), (WithRequestsOAuthlib, "access_denied")],  # Authlib asks without a code
)
@pytest.mark.practice_provider(consent="deny")
def test_a_person_denies(
    kind: Any, practice_app: OAuth2App, practice_provider: PracticeProvider, error: str
) -> None:
    program = kind(practice_app, practice_provider.api_url)
    with pytest.raises(kind.Refused, match=error):
        program.log_in(browse)
    assert practice_provider.exchanges == 0
