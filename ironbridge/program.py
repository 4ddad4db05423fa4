"""The program: the command line, and the demonstration as one more command."""

from __future__ import annotations

import sys
from typing import NoReturn

from canonical.errors import IronbridgeError, MisconfiguredError, UnavailableError
from ironbridge.cli import render
from ironbridge.cli.app import app
from ironbridge.cli.parts import err
from ironbridge.demo.command import demo

app.command()(demo)


def main() -> NoReturn:
    """The entry point: our own errors as one sentence on stderr and an exit status, never as a traceback."""
    try:
        app(standalone_mode=True)
    except MisconfiguredError as error:
        render.error(err, error)
        sys.exit(2)
    except UnavailableError as error:
        render.error(err, error)
        sys.exit(3)
    except IronbridgeError as error:
        render.error(err, error)
        sys.exit(1)
    sys.exit(0)
