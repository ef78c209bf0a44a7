"""Names that SlyAPI 0.6 kept there; new code takes them from `SlyAPI.oauth2`."""

from .oauth2.signers.service_account import OAuth2ServiceAccount, ServiceAccount

__all__ = ["OAuth2ServiceAccount", "ServiceAccount"]
