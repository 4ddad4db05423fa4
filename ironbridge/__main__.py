"""Starts the command line, once it is certain that the packages are ours."""

from ironbridge import ours


def main() -> None:
    """The command `ironbridge`."""
    ours.check()
    from ironbridge.program import main as run  # imports all the packages

    run()


if __name__ == "__main__":
    main()
