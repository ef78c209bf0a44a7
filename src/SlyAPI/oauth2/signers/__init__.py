"""What signs requests: `OAuth2` and its siblings for programs."""
