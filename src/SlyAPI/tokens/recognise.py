"""Names the kind of a JSON object from its keys, for messages about the wrong file.

The rule: no value of the object is quoted.
"""

from collections.abc import Mapping
from typing import Any

from ..web.next_steps import PROGRAM

HINT = f"Make one with: {PROGRAM} grant"
MADE_WITH = f"{PROGRAM} grant --user"
"""The command that writes a user file of this name."""


def recognise(obj: Mapping[str, Any]) -> str:
    """The kind of a JSON object in a few words, from its keys."""
    if obj.get("type") == "service_account":
        return "a Google service-account key"
    if obj.get("type") == "authorized_user":
        return "gcloud's application-default credentials"
    if obj.get("type") in ("external_account", "impersonated_service_account"):
        return "a Google credentials file without a private key"
    if "token" in obj and is_of_google_auth(obj):
        return "a token file of google-auth"
    if "access_token" in obj:
        return "a provider's token reply"
    if "token" in obj and "expires_at" in obj:
        return "a user file of SlyAPI"
    if "installed" in obj or "web" in obj:
        return "Google's client file"
    if "client_id" in obj or "auth_uri" in obj:
        return "a client file"
    if {"request_uri", "authorize_uri", "access_uri"} & obj.keys():
        return "an OAuth 1 client file"
    if {"key", "secret"} <= obj.keys() or "oauth_token_secret" in obj:
        return "an OAuth 1 user file"
    if {"openapi", "swagger"} & obj.keys():
        return "an API description"
    return "a JSON object with other keys" if obj else "an empty JSON object"


def is_of_google_auth(obj: Mapping[str, Any]) -> bool:
    return "expiry" in obj or "token_uri" in obj
