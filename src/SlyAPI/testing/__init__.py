"""A provider to practise on and to test against, with no part of the client in it."""
from .endpoint import Seen
from .persistent import keep, kept_provider
from .provider import SCOPES, PracticeProvider

__all__ = ["SCOPES", "PracticeProvider", "Seen", "keep", "kept_provider"]
