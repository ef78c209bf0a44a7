"""The broker: a local server that signs the requests of programs which never see a token."""
