"""What a client gets: one file for each grant or token endpoint, and the tokens' keys and proofs."""
