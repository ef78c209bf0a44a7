"""Becoming a client of a resource that is known by its URL alone."""
