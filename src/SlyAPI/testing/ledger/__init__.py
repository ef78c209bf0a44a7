"""What the provider remembers: clients, grants and tokens, and their form in a file."""
