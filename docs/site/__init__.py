"""How the documentation site is built; `docs/build` starts it. The pages themselves need none of it."""
