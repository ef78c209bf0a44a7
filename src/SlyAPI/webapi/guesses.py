"""What a program gave in place of an `Auth`, and the line that makes one."""

from ..errors import ConfigError

_MAKES_ONE = {
    "OAuth2App": "WebAPI(OAuth2(app, user))",
    "OAuth2User": "WebAPI(OAuth2(app, user))",
    "OAuth1App": "WebAPI(OAuth1(app, user))",
    "OAuth1User": "WebAPI(OAuth1(app, user))",
    "ServiceAccount": "WebAPI(OAuth2ServiceAccount(account, scopes))",
    "str": 'WebAPI(OAuth2("app.json", "user.json"), "https://api.example") or WebAPI(UrlApiKey("key", "..."))',
    "NoneType": "WebAPI(Auth.none())",
    "type": 'WebAPI(OAuth2("app.json", "user.json")), an object, not its class',
}


def not_an_auth(given: object) -> ConfigError:
    """The error for a first argument of `WebAPI` that cannot sign requests; it does not quote the value."""
    name = type(given).__name__
    called = next((each.__name__ for each in type(given).__mro__ if each.__name__ in _MAKES_ONE), "str")
    return ConfigError(
        f"WebAPI signs requests with an Auth; it was given {'None' if given is None else name}.",
        next_step=f"Write {_MAKES_ONE[called]}",
    )
