"""`python -m SlyAPI`."""

import sys

if __name__ == "__main__":
    try:
        from .cli.main import main

        code = main(sys.argv[1:])
    except KeyboardInterrupt:  # while modules were imported, before `main` could take it
        sys.stderr.write("Stopped. Nothing was changed.\n")
        code = 130
    sys.exit(code)
