"""What is wrong with a set-up, as a list of findings. Pure: judges what `doctor_facts` gathered.

The rule: each finding is right, wrong with what to do, or not checked with the reason.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from ...errors import NetworkError, SlyError, printable
from ...flow.git_guard import ignore_line
from ...flow.wizard import consent_command
from ...json_file import display_path
from ...oauth2 import OAuth2App, OAuth2User
from ...oauth2.client.discovery import SETTINGS
from ...tokens.client_auth import registered_name
from ...tokens.scopes import ASK_FOR_CONSENT, OFFLINE, missing_scopes
from ...web.messages import skew
from ...web.next_steps import command, quoted
from ...web.urls import bare_url, is_loopback_uri
from .facts import EndpointFacts, Facts

SOON = timedelta(days=3)
"""A grant that ends within this time is a finding: the person has to consent again."""
_USUAL_REDIRECT = "http://localhost:8080"


class Finding(NamedTuple):
    """One line of the report; `next_step` says what to do where something is wrong."""

    check: str
    state: Literal["ok", "wrong", "skipped"]
    text: str
    next_step: str = ""


def findings(facts: Facts) -> list[Finding]:
    """All findings, in the order of the report."""
    found = [*_client(facts), *_user(facts), *_files(facts), *_certificate(facts), *_assertion(facts)]
    if facts.app is not None:
        found += [*_endpoints(facts.endpoints), *_proxy(facts), _tls(facts.endpoints), _clock(facts.endpoints)]
        found += [*_metadata(facts.app, facts), _redirect(facts.app), _pkce(facts.app, facts)]
    if facts.user is not None:
        found += [_scopes(facts.app, facts.user, facts), _grant_end(facts.user, facts)]
    if facts.user_name:
        found.append(_refresh(facts))
    return found


def _of(check: str, error: SlyError) -> Finding:
    return Finding(check, "wrong", str(error.args[0]), error.next_step)


def _client(facts: Facts) -> Iterator[Finding]:
    name = display_path(facts.app_path)
    if facts.app_problem is not None:
        yield _of("client file", facts.app_problem)
        return
    for key, meant in facts.misspelt.items():
        yield Finding("client file", "wrong", f"{name} has the unknown key {key!r}.", f"Did you mean {meant}?")
    if not facts.misspelt:
        yield Finding("client file", "ok", f"{name} is complete")


def _user(facts: Facts) -> Iterator[Finding]:
    if facts.account is not None:
        yield Finding("API", "ok", f"tokens go to {' '.join(facts.account.origins)}, and nowhere else")
    if facts.user_problem is not None:
        yield _of("user", facts.user_problem)
    elif facts.user is not None:
        yield Finding("user", "ok", f"{facts.user_name} contains a user's tokens")
    if facts.save_problem is not None:
        yield _of("saving", facts.save_problem)
    if facts.store_names is not None:
        count = len(facts.store_names)
        text = f"{facts.user_name} has {count} user{'' if count == 1 else 's'}; --name NAME checks one"
        yield Finding("store", "ok", text)


def _files(facts: Facts) -> Iterator[Finding]:
    for file in facts.files:
        name, word = display_path(file.path), quoted(display_path(file.path))
        if file.mode is not None and file.mode & 0o077:
            yield Finding("mode", "wrong", f"{name} has mode {file.mode:04o}: others may read it.", f"chmod 600 {word}")
        elif file.mode is not None:
            yield Finding("mode", "ok", f"{name} is for its owner alone ({file.mode:04o})")
        if file.readers:
            step = f'icacls {word} /inheritance:r /grant:r "%USERNAME%:F"'
            yield Finding("access", "wrong", f"{', '.join(file.readers)} may read {name}.", step)
        if file.git == "tracked":
            yield Finding("git", "wrong", f"git tracks {name}, which contains a secret.", f"git rm --cached {word}")
        elif file.git == "untracked":
            step = f"Add the line {ignore_line(file.path)} to .gitignore."
            yield Finding("git", "wrong", f"git would commit {name}.", step)
        else:
            yield Finding("git", "ok", f"git would not commit {name}")


def _certificate(facts: Facts) -> Iterator[Finding]:
    if facts.certificate_problem is not None:
        yield _of("certificate", facts.certificate_problem)
    elif facts.thumbprint:
        yield Finding("certificate", "ok", f"its key fits; tokens bound to it name x5t#S256 {facts.thumbprint}")


def _assertion(facts: Facts) -> Iterator[Finding]:
    claims, check = facts.assertion_claims, "assertion"
    if facts.assertion_problem is not None:
        yield _of(check, facts.assertion_problem)
    elif claims is not None:
        end = claims.get("exp")
        if isinstance(end, int | float) and end <= facts.now.timestamp():
            text = f"The client's assertion ({facts.assertion}) has expired."
            yield Finding(check, "wrong", text, "See why the platform does not renew it.")
        else:
            text = f"{facts.assertion} gives a JWT of {printable(claims.get('sub'), 100)}"
            yield Finding(check, "ok", f"{text} for {printable(claims.get('aud'), 100)}")
    elif facts.assertion:
        yield Finding(check, "skipped", f"{facts.assertion} is asked when a token is needed")


def _proxy(facts: Facts) -> Iterator[Finding]:
    if facts.proxy_variable:
        failed = any(isinstance(each.problem, NetworkError) for each in facts.endpoints)
        text = f"{facts.proxy_variable} is set, and this program does not use it."
        step = "If the network requires it, give --proxy URL; in Python, a session with proxy=."
        yield Finding("proxy", "wrong" if failed else "skipped", text, step if failed else "")


def _is_tls(error: SlyError | None) -> bool:
    return isinstance(error, NetworkError) and error.kind == "configuration"


def _endpoints(endpoints: list[EndpointFacts]) -> Iterator[Finding]:
    for endpoint in endpoints:
        if endpoint.problem is not None:
            if not _is_tls(endpoint.problem):
                yield _of(endpoint.name, endpoint.problem)
        elif endpoint.status == 404:  # every other status may be its answer to a request without parameters
            text = f"{bare_url(endpoint.url)} does not exist (HTTP 404)."
            yield Finding(endpoint.name, "wrong", text, f"Correct {endpoint.name} in the client file.")
        else:
            yield Finding(endpoint.name, "ok", f"{bare_url(endpoint.url)} answers")


def _tls(endpoints: list[EndpointFacts]) -> Finding:
    failed = next((each.problem for each in endpoints if _is_tls(each.problem)), None)
    if failed is not None:
        return _of("TLS", failed)
    hosts = [urlsplit(each.url).netloc for each in endpoints if each.status and each.url.startswith("https:")]
    if not hosts:
        return Finding("TLS", "skipped", "no endpoint answered over https")
    return Finding("TLS", "ok", f"valid certificates: {', '.join(dict.fromkeys(hosts))}")


def _clock(endpoints: list[EndpointFacts]) -> Finding:
    """Compared with the token endpoint's clock, which decides when tokens expire, else another endpoint's."""
    dated = sorted((each for each in endpoints if _is_date(each.date)), key=lambda each: each.name != "token_uri")
    if not dated:
        return Finding("clock", "skipped", "no endpoint named the time")
    ahead = skew({"Date": dated[0].date}, dated[0].at)
    if not ahead:
        return Finding("clock", "ok", "less than a minute from the provider's")
    direction = "behind" if ahead > 0 else "ahead of"
    text = f"This machine's clock is {abs(ahead):.0f} s {direction} the provider's."
    return Finding("clock", "wrong", text, "Set it by NTP, for example: timedatectl set-ntp true")


def _is_date(text: str) -> bool:
    try:
        return bool(parsedate_to_datetime(text))
    except (ValueError, TypeError, OverflowError):
        return False


def _metadata(app: OAuth2App, facts: Facts) -> Iterator[Finding]:
    if facts.metadata_problem is not None:
        yield _of("metadata", facts.metadata_problem)
        return
    if facts.metadata is None:
        yield Finding("metadata", "skipped", "the client file names no issuer to compare with")
        return
    wrong = False
    for ours, theirs in SETTINGS.items():
        mine, published = getattr(app, ours), facts.metadata.get(theirs)
        if mine and published and mine != published:
            wrong = True
            text = f"{ours} is {bare_url(mine)}, and the issuer says {bare_url(str(published))}."
            yield Finding("metadata", "wrong", text, f"Correct {ours} in the client file.")
    methods = facts.metadata.get("token_endpoint_auth_methods_supported")
    if app.client_auth and isinstance(methods, list) and registered_name(app.client_auth) not in methods:
        wrong = True
        text = f"The issuer does not offer the client_auth {app.client_auth}."
        yield Finding("metadata", "wrong", text, "Take client_auth out of the client file, or choose another.")
    if not wrong:
        yield Finding("metadata", "ok", f"the client file agrees with {bare_url(facts.issuer)}")


def _redirect(app: OAuth2App) -> Finding:
    if not app.auth_uri:
        return Finding("redirect URI", "skipped", "a client without auth_uri opens no consent page")
    uri = app.redirect_uri or (app.provider.redirect_uri if app.provider else _USUAL_REDIRECT)
    if is_loopback_uri(uri):
        return Finding("redirect URI", "ok", f"{uri} is on this machine; it must be registered exactly so")
    if uri.lower().startswith("http:"):
        text = f"{uri} is plain http to another machine, so the code would be sent unprotected."
        return Finding("redirect URI", "wrong", text, f"Register https, or {_USUAL_REDIRECT} for this machine.")
    if uri.lower().startswith("https:"):
        return Finding("redirect URI", "ok", f"{uri} is a web application's; grant needs --paste for it")
    scheme = uri.partition(":")[0]
    if "." not in scheme:
        text = f"The scheme {scheme} of {uri} may belong to another app (RFC 8252 §7.1)."
        return Finding("redirect URI", "wrong", text, "Use a scheme with a dot, such as com.example.app.")
    return Finding("redirect URI", "ok", f"{uri} is an app's own scheme")


def _pkce(app: OAuth2App, facts: Facts) -> Finding:
    if not app.auth_uri:
        return Finding("PKCE", "skipped", "a client without auth_uri opens no consent page")
    known = app.provider is None or app.provider.pkce
    if app.pkce is False and known:
        step = 'Take "pkce": false out of the client file, unless the provider breaks on it.'
        return Finding("PKCE", "wrong", "PKCE is switched off in the client file.", step)
    if not known and not app.pkce:
        return Finding("PKCE", "skipped", "this provider is known to break on it")
    offered = (facts.metadata or {}).get("code_challenge_methods_supported")
    if facts.metadata is not None and not (isinstance(offered, list) and "S256" in offered):
        return Finding("PKCE", "skipped", "sent (S256), but the issuer's metadata do not mention it")
    return Finding("PKCE", "ok", "sent (S256)")


def _words_of(facts: Facts) -> list[str]:
    """The words of the command that grants again."""
    if facts.account is not None:
        return ["login", facts.account.name]
    return ["grant", *(display_path(path) for path in (facts.app_path, facts.user_path) if path)]


def _grant_again(facts: Facts) -> str:
    return f"grant again: {command(*_words_of(facts))}"


def _scopes(app: OAuth2App | None, user: OAuth2User, facts: Facts) -> Finding:
    wanted = [*(user.requested_scopes or ()), *(app.scopes if app else ())]
    # a refresh token that is missing is a finding of its own
    missing = missing_scopes(dict.fromkeys(wanted), user.scopes, renewable=True)
    if not user.scopes:
        return Finding("scopes", "skipped", "the provider did not say which ones it granted")
    if missing:
        text = f"Granted: {' '.join(user.scopes)}. Not granted: {' '.join(missing)}."
        return Finding("scopes", "wrong", text, f"If the program needs them, {_grant_again(facts)}")
    return Finding("scopes", "ok", f"granted: {' '.join(user.scopes)}")


def _grant_end(user: OAuth2User, facts: Facts) -> Finding:
    end = user.refresh_expires_at if facts.renewable else user.expires_at
    if end is not None:
        return _dated_end(user, end, facts)
    if facts.renewable:
        return Finding("grant", "ok", "its tokens are renewed; the provider named no end")
    return Finding("grant", "ok", "its token has no known end, and no refresh token")


def _dated_end(user: OAuth2User, end: datetime, facts: Facts) -> Finding:
    at, left = f"{end:%Y-%m-%d %H:%M} UTC", end - facts.now
    if left <= timedelta(0):
        step = f"The person has to consent again; {_grant_again(facts)}"
        return Finding("grant", "wrong", f"The grant ended at {at}.", step)
    if not facts.renewable:
        step = "Ask for offline access when you grant (see the provider's page on refresh tokens), and grant again."
        if OFFLINE in (user.requested_scopes or ()):
            step = f"{ASK_FOR_CONSENT} {consent_command(_words_of(facts), user)}"
        return Finding("grant", "wrong", f"There is no refresh token: the grant ends at {at}.", step)
    if left <= SOON:
        return Finding("grant", "wrong", f"The grant ends soon, at {at}.", f"Before that, {_grant_again(facts)}")
    return Finding("grant", "ok", f"its tokens are renewed until {at} (in {left.days} days)")


def _refresh(facts: Facts) -> Finding:
    if facts.refresh_problem is not None:
        return _of("refresh", facts.refresh_problem)
    if facts.refreshed:
        return Finding("refresh", "ok", "worked; the new tokens were saved")
    return Finding("refresh", "skipped", "not tried; --refresh does")
