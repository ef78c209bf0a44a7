"""`call`: one signed request from the shell."""
