"""`python -m herojobs` is the command `herojobs`."""

from herojobs.cli.main import main

main()
