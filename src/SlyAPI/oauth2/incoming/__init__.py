"""Tokens that come in with requests to an API of one's own."""
