"""The path of `SlyAPI.web.params` that programs import."""

from .web.params import as_form, as_pairs, as_query

__all__ = ["as_form", "as_pairs", "as_query"]
