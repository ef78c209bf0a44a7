"""`demo`: the real commands against the built-in practice provider."""
