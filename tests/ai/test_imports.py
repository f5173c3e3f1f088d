"""pydantic-ai is imported by a worker at its first AI job, and by nobody else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ai.conftest import World

HEAVY = ("pydantic_ai", "openai", "pydantic", "xllamacpp", "genai_prices")


@pytest.mark.parametrize(
    "code",
    [
        "from herojobs import AsyncHeroJobs, HeroJobs, InlineWatchDog, WatchDog",
        "import herojobs.cli.main, herojobs.cli.ai",
        "import herojobs.processors.ai, herojobs.processors.ai_tools, herojobs.worker.concurrent",
        "import herojobs.ai.local, herojobs.ai.models, herojobs.ai.tools, herojobs.testing",
    ],
)
def test_nobody_else_imports_it(code: str) -> None:
    told = f"{code}\nimport sys\nprint([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_idle_worker_has_not_imported_it(world: World) -> None:
    assert world.has_imported("herojobs.worker.concurrent") == "true"
    assert world.imported == ["false", "true"]  # before its first AI job, and after it
