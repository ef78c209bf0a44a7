"""`python -m SlyAPI`, and the console script `slyapi`."""

import sys


def run() -> int:
    """Runs the command line on `sys.argv`; the exit code."""
    try:
        from .cli.main import main

        return main(sys.argv[1:])
    except KeyboardInterrupt:  # during the imports, before `main` handles it
        sys.stderr.write("Stopped. Nothing was changed.\n")
        return 130


if __name__ == "__main__":
    sys.exit(run())
