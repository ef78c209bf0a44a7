"""`python -m SlyAPI`, and the console script `slyapi`."""

import sys
from typing import NoReturn


def run() -> NoReturn:
    """Runs the command line on `sys.argv`, and exits with its exit code, which a zipapp would ignore as a result."""
    try:
        from .cli.main import main

        code = main(sys.argv[1:])
    except KeyboardInterrupt:  # during the imports, before `main` handles it
        sys.stderr.write("Stopped. Nothing was changed.\n")
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    run()
