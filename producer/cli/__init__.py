"""The ``factory`` command: a command parses its arguments, calls the function that does it, and shows the result."""

import sys

from producer.cli import app


def main() -> None:
    """Runs the command line of this process and ends it: 0 when it worked, 1 when it failed, 2 for a wrong command."""
    sys.exit(app.run(sys.argv[1:]))
