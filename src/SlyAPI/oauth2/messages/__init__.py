"""Forms and replies as pure functions: one file for each grant or endpoint."""
