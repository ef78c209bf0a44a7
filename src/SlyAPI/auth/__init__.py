"""How a request is authenticated: the contract, API keys, and the aiohttp client middleware."""

from .api_keys import HeaderApiKey, UrlApiKey
from .contract import Auth, NoAuth

__all__ = ["Auth", "HeaderApiKey", "NoAuth", "UrlApiKey"]
