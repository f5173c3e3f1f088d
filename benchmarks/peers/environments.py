"""An environment of its own for each peer, under .bench/, made with uv."""

from __future__ import annotations

import ast
import glob
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.page import RESULTS

ROOT = Path(__file__).parents[2]
FOLDER = RESULTS
"""Where environments and results lie; nothing of it belongs to the repository."""
ADAPTERS = Path(__file__).parent / "adapters"


class CannotInstall(Exception):
    """A peer that this machine can't have; the text says why."""


def names() -> list[str]:
    """Return the peers that there is an adapter for, HeroJobs first."""
    found = sorted(path.stem.rstrip("_") for path in ADAPTERS.glob("[a-z]*_.py"))
    return ["herojobs", *(name for name in found if name != "herojobs")]


def constants(name: str) -> dict[str, object]:
    """Return the plain constants of an adapter and its docstring, without importing it: it needs its environment."""
    tree = ast.parse((ADAPTERS / f"{name}_.py").read_text("utf-8"))
    found: dict[str, object] = {"about": " ".join((ast.get_docstring(tree) or "").split())}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(target, ast.Name) and node.value is not None:
            try:
                found[target.id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


def is_installed(name: str) -> bool:
    """Return whether a peer's environment is there, with the versions that are wanted."""
    packages = constants(name)["PACKAGES"]
    assert isinstance(packages, list)
    stamp = FOLDER / name / "packages"
    return not packages or (stamp.exists() and stamp.read_text() == "\n".join(packages))


def python_of(name: str) -> Path:
    """Return the interpreter of a peer's environment, made where it isn't there yet.

    Raises:
        CannotInstall: the registry or this machine doesn't have what it needs.
    """
    about = constants(name)
    packages = about["PACKAGES"]
    if not packages:
        return Path(sys.executable)
    assert isinstance(packages, list)
    folder = FOLDER / name
    python = folder / "bin" / "python"
    if is_installed(name):
        return python
    uv = Path(sys.executable).with_name("uv")
    base = _python(str(about.get("PYTHON", "")))
    commands: tuple[list[str | Path], ...] = (
        [uv, "venv", "-q", "--clear", "--python", base, folder],
        [uv, "pip", "install", "-q", "--python", python, *packages],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotInstall(done.stderr.strip().splitlines()[-1])
    (folder / "packages").write_text("\n".join(packages))
    return python


def _python(least: str) -> str:
    """Return an interpreter of at least this version: ours, one on PATH, or one that pyenv has made."""
    if not least or sys.version_info >= tuple(int(part) for part in least.split(".")):
        return sys.executable
    major, minor = (int(part) for part in least.split("."))
    for number in range(minor, minor + 3):
        for folder in os.environ.get("PATH", "").split(os.pathsep):
            path = Path(folder) / f"python{major}.{number}"
            if path.exists() and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
                return str(path)
        for found in sorted(glob.glob(f"{Path.home()}/.pyenv/versions/{major}.{number}.*/bin/python")):
            return found
    raise CannotInstall(f"needs Python {least} or newer, which isn't here")
