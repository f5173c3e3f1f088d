"""The examples, as they stand, are run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from herojobs.live import embedded

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    def example(*arguments: str | Path) -> str:
        env = {**os.environ, "HEROJOBS_HOME": str(tmp_path), "PYTHONPATH": str(EXAMPLES / "actors")}
        done = subprocess.run(
            [sys.executable, *arguments], env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    yield example
    embedded.stop(tmp_path)


def test_the_originals_three_examples(run: Run) -> None:
    ref = run(EXAMPLES / "submit_job.py").strip()
    assert ref == "mycircle/mytopic/1"
    assert run(EXAMPLES / "check_status.py", ref) == "Job is waiting to be processed\n"
    assert run(EXAMPLES / "start_watchdog.py").endswith("stopped\n")
    code = f"from herojobs import HeroJobs, WatchDog\nwith WatchDog(workers=1), HeroJobs() as h: h.wait({ref!r}, 60)"
    run("-c", code)
    assert run(EXAMPLES / "check_status.py", ref) == "Job completed successfully: This is a test job\n"


def test_actors_of_your_own(run: Run) -> None:
    script = (EXAMPLES / "actors" / "parcels.hero").read_text()
    code = (
        "from herojobs import HeroJobs, InlineWatchDog\n"
        "with HeroJobs() as h, InlineWatchDog(actors=['parcels']) as w:\n"
        f"    job = h.submit({script!r}, log=True); w.run_pending(); print(h.get(job).result); print(h.log(job))"
    )
    assert run("-c", code) == "box 1: 4 pieces (red, dark blue)\nbox 1 is on its way\n\n"


def test_a_service_and_jobs_that_call_it(run: Run) -> None:
    program = EXAMPLES / "openrpc" / "pets.py"
    with subprocess.Popen([sys.executable, program, "0"], stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        url = service.stdout.readline().split()[-1]
        added, batch, wrong = run(EXAMPLES / "openrpc" / "call_pets.py", url).splitlines()
        service.terminate()
    assert added == 'done {"id":2,"name":"Spike","kind":"dog"}'
    assert batch.startswith('done [{"jsonrpc":"2.0","result":[{"id":1,')
    assert wrong == 'error -32602 Invalid params: kind: expected one of "cat", "dog", got "mouse"'


def test_methods_of_your_own(run: Run) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(EXAMPLES / 'openrpc')!r})\n"
        "from herojobs import HeroJobs, InlineWatchDog\n"
        "with HeroJobs() as h, InlineWatchDog(openrpc_methods=['methods']) as w:\n"
        '    for params in (\'{"method": "math.add", "params": [2, 3]}\', \'{"method": "greet"}\'):\n'
        "        job = h.submit(params, params_type='openrpc'); w.run_pending(); print(h.get(job).result)"
    )
    assert run("-c", code) == "5\nHello, you\n"


def test_the_demo_shows_jobs_of_every_kind(run: Run) -> None:
    shown = run(EXAMPLES / "demo.py")
    for word in (
        "This is a test job",
        "Spike",
        "-32602",
        "Paris",  # by the local model
        "timed out",
        "cancelled",
        "did you",
        "herojobs dev",
    ):
        assert word in shown


def test_asking_a_model(run: Run) -> None:
    sentence, parcel, tokens = run(EXAMPLES / "ask_model.py").splitlines()
    assert len(sentence) > len("a sentence: ")
    assert set(json.loads(parcel.removeprefix("as JSON: "))) == {"name", "pieces"}
    assert tokens.endswith("received")


def test_flows(run: Run) -> None:
    assert run(EXAMPLES / "chain.py") == "in all: 42\n"
    assert run(EXAMPLES / "fan_out.py") == "the sum of the squares: 55\njobs in the flow: 6\n"
