"""The command, run in this process: a new one takes a second to start."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from herojobs.cli import main


class Ran(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


InProcess = Callable[..., Ran]


def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> InProcess:
    """Return what runs the command with arguments, and variables of the environment by keyword."""

    def run(*arguments: str, **env: str) -> Ran:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["herojobs", *arguments])
            patch.setattr(sys, "path", list(sys.path))
            for name, value in env.items():
                patch.setenv(name, value)
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main.main()
            out = capsys.readouterr()
        return Ran(int(ended.value.code or 0), out.out, out.err)

    return run
