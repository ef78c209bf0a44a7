"""`python -m SlyAPI`: arguments in, exit code out. Only here and in `flow` may anything print, prompt or exit."""
