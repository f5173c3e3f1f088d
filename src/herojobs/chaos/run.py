"""A run of chaos from its start to its verdict."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from herojobs.chaos import faults as kinds
from herojobs.chaos.faults import FAULTS, Happened
from herojobs.chaos.stage import Plan, Stage
from herojobs.chaos.verdict import Log, Verdict, judge, note_ticks
from herojobs.errors import JobNotFound, SettingsError, did_you_mean
from herojobs.names import Ref
from herojobs.store import JobStore

WARM_UP = 2.0
"""Seconds before the first fault."""
PATIENCE = 120.0
"""Seconds that acknowledged jobs get to end once the faults are over, beside a second for each hundred."""
CONSTANT_KEYS = (b"herotopics", b"heroalive")


def choose(names: Sequence[str]) -> tuple[str, ...]:
    """Return kinds of fault by their names: `all`, `none`, or some, of which those with a `-` before are left out.

    Raises:
        SettingsError: a name is unknown.
    """
    chosen: list[str] = []
    if not names or names[0].startswith("-"):
        names = ["all", *names]
    for name in names:
        bare = name.removeprefix("-")
        if bare not in FAULTS and name not in ("all", "none"):
            raise SettingsError(f"no fault is called {bare!r}; {did_you_mean(bare, [*FAULTS, 'all', 'none'])}")
        if name == "none":
            chosen = []
        elif name.startswith("-"):
            chosen = [each for each in chosen if each != bare]
        else:
            chosen += [each for each in (FAULTS if name == "all" else [name]) if each not in chosen]
    return tuple(chosen)


def run(plan: Plan, folder: Path | None = None, tell: Callable[[str], object] = lambda _: None) -> Verdict:
    """Submit jobs, do faults, wait until all jobs are over, and judge.

    Args:
        plan: what the run shall be.
        folder: where logs go and stay; None = nothing stays.
        tell: called with a line about how far the run is.
    """
    began = time.monotonic()
    rng = random.Random(plan.seed)  # noqa: S311 - not for secrets
    with Stage(plan, folder) as stage:
        happened = _disturb(stage, rng, tell)
        acknowledged = list(dict.fromkeys(stage.acknowledged_refs()))
        store = JobStore(stage.settings)
        try:
            left = _wait(stage, store, acknowledged, tell)
            keys_left = 0 if left else _keys_left(stage)
            stage.stop_watchdogs()
            refs = [*acknowledged, *stage.ticking.refs(store)]
            verdict = judge(plan, refs, Log(stage.marks), store, happened)
            note_ticks(verdict, stage.ticking.judge(store))
            if folder is not None:
                _keep_histories(folder, store, verdict)
        finally:
            store.close()
        verdict.keys_left = keys_left
        verdict.processes_left = stage.left
        verdict.revived = stage.revived
        if keys_left:
            verdict.broken.append(f"{keys_left} keys were left in Redis")
        if stage.left:
            verdict.broken.append(f"{stage.left} processes were left")
    verdict.seconds = round(time.monotonic() - began, 1)
    return verdict


def _disturb(stage: Stage, rng: random.Random, tell: Callable[[str], object]) -> list[Happened]:
    """Do one fault after another until enough jobs are acknowledged: all kinds in random order, then all again."""
    happened: list[Happened] = []
    deck: list[str] = []
    due = time.monotonic() + WARM_UP
    while (jobs := len(stage.acknowledged_refs())) < stage.plan.jobs:
        tell(f"{jobs:,} of {stage.plan.jobs:,} jobs, {len(happened)} faults")
        time.sleep(0.05)
        stage.revived += stage.revive()
        if stage.plan.faults and time.monotonic() > due:
            deck = deck or rng.sample(stage.plan.faults, len(stage.plan.faults))
            happened.append(kinds.do(deck.pop(), stage, rng))
            stage.note("fault {0.name} from {0.began} to {0.over}".format(happened[-1]))
            due = time.monotonic() + stage.plan.every
    stage.stop_submitting()
    return happened


def _wait(stage: Stage, store: JobStore, refs: list[str], tell: Callable[[str], object]) -> list[str]:
    """Wait until jobs and those that ticks have made are over; return those that aren't in time."""
    deadline = time.monotonic() + PATIENCE + len(refs) / 100
    left = refs
    while True:
        left = [ref for ref in left if not _is_over(store, ref)]
        of_ticks = stage.ticking.open_refs(store)
        if not (left or of_ticks) or time.monotonic() > deadline:
            return left + of_ticks
        tell(f"{len(left):,} of {len(refs):,} jobs to go, and {len(of_ticks):,} of ticks")
        time.sleep(0.3)
        stage.revived += stage.revive()


def _is_over(store: JobStore, ref: str) -> bool:
    try:
        return store.get(*Ref.parse(ref)).is_over
    except JobNotFound:
        return False


def _keys_left(stage: Stage) -> int:
    """Return how many keys Redis has that neither belong to jobs which are over nor expire by themselves.

    Jobs that were stored and never acknowledged may still run for a while.
    """
    from redis import Redis

    deadline = time.monotonic() + PATIENCE
    with Redis(unix_socket_path=str(stage.redis.socket)) as plain:
        while True:
            left = [key for key in plain.scan_iter(count=1000) if plain.ttl(key) < 0 and key not in CONSTANT_KEYS]
            if not left or time.monotonic() > deadline:
                return len(left)
            time.sleep(0.5)


def _keep_histories(folder: Path, store: JobStore, verdict: Verdict) -> None:
    """Write down all versions of the jobs whose promises broke."""
    with open(folder / "histories", "wb") as out:
        for ref in (*verdict.lost, *verdict.groundless, *verdict.ended_wrongly):
            out.write(f"{ref}\n".encode())
            with contextlib.suppress(JobNotFound):
                out.writelines(version.to_json() + b"\n" for version in store.history(*Ref.parse(ref)))
