"""Starts the command line, once it is certain that the packages are ours."""

import gc

from ironbridge import ours


def main() -> None:
    """The command `ironbridge`."""
    ours.check()
    gc.disable()  # what is imported stays: to look through it three hundred times is a tenth of a start
    from ironbridge.program import main as run  # imports all the packages

    gc.enable()
    run()


if __name__ == "__main__":
    main()
