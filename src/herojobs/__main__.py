"""The command `herojobs`, also `python -m herojobs`."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command. Ctrl-C while its modules load just ends it; from then on it is the command's to handle."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from herojobs.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
