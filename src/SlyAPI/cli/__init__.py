"""`python -m SlyAPI`: arguments in, exit code out. Only this wing and `flow` print, prompt or exit."""
