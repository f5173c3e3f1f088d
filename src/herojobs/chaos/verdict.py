"""What a run of chaos showed: the log of starts and finishes, OurDB's chains of versions and the faults, in one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from herojobs.chaos.faults import Happened
from herojobs.chaos.producer import HANG_TIMEOUT, HANG_TOPIC
from herojobs.chaos.stage import Plan
from herojobs.chaos.ticking import Ticks
from herojobs.errors import JobNotFound
from herojobs.job import Job
from herojobs.names import Ref
from herojobs.store import JobStore

RESCUE_WATCHDOG = 5.0
"""Seconds over a lease within which the jobs of a killed WatchDog must run again (p99)."""
RESCUE_WORKER = 1.0
"""Seconds within which the jobs of a killed worker must run again (p99)."""
OVERRUN = 1.0
"""Seconds over its timeout within which a job must be ended (p99)."""


class Start(NamedTuple):
    """A start of a job, as the job wrote it: the process, and when in unix nanoseconds."""

    ref: str
    token: str
    pid: int
    at: int


class Spread(msgspec.Struct, frozen=True):
    """A distribution of times in seconds."""

    tries: int
    p50: float
    p99: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the distribution of some times; zeros if there are none."""
        ordered = sorted(values)
        if not ordered:
            return cls(0, 0.0, 0.0, 0.0)
        at = [ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99)]
        return cls(len(ordered), *(round(each, 3) for each in (*at, ordered[-1])))


class Verdict(msgspec.Struct, kw_only=True):
    """What a run showed; `broken` names the promises that didn't hold, `late` the times that weren't kept.

    Attributes:
        jobs: acknowledged jobs, and those of ticks.
        seconds: how long the run took.
        lost: jobs that weren't over in the end.
        ended_wrongly: jobs that ended otherwise than their content says.
        wrong_ends: how they did, and how often.
        ticks: ticks of the schedules.
        ticks_missed: those without a job.
        ticks_doubled: those with several.
        second_starts: starts of jobs that had started before.
        interrupted: those of them that had to be, since a fault had killed what ran the job, or killed or stopped its
            WatchDog before the job had come to its end.
        second_finishes: ends that OurDB accepted of jobs that were over.
        groundless: accepted ends that no start accounts for.
        rescue_watchdog: from the SIGKILL of a WatchDog to the next start of a job that ran there, where no other fault
            came between.
        rescue_worker: the same for workers.
        overrun: from the end of a job's time, counted from the start that it wrote itself, to its end, where no fault
            came between.
        keys_left: keys of Redis that belong to no job that is over.
        processes_left: processes that lived on.
        revived: WatchDogs that ended by themselves, as they do if they start while Redis is away or the disk full, and
            were started again.
        faults: how many of each kind.
    """

    seed: int
    jobs: int
    seconds: float = 0.0
    lost: list[str] = []
    ended_wrongly: list[str] = []
    wrong_ends: dict[str, int] = {}
    ticks: int = 0
    ticks_missed: list[str] = []
    ticks_doubled: list[str] = []
    second_starts: int = 0
    interrupted: int = 0
    second_finishes: int = 0
    groundless: list[str] = []
    rescue_watchdog: Spread = Spread(0, 0, 0, 0)
    rescue_worker: Spread = Spread(0, 0, 0, 0)
    overrun: Spread = Spread(0, 0, 0, 0)
    keys_left: int = 0
    processes_left: int = 0
    revived: int = 0
    faults: dict[str, int] = {}
    broken: list[str] = []
    late: list[str] = []


class Log:
    """The starts and finishes that jobs wrote."""

    def __init__(self, marks: Path) -> None:
        self.starts: dict[str, list[Start]] = defaultdict(list)
        self.finished: dict[str, int] = {}
        """When each start that came to its end did, by its token."""
        for line in marks.read_text().splitlines() if marks.exists() else ():
            event, ref, token, pid, at = line.split()
            if event == "start":
                self.starts[ref].append(Start(ref, token, int(pid), int(at)))
            else:
                self.finished[token] = int(at)

    def by_process(self) -> dict[int, list[Start]]:
        """Return the starts in each process."""
        found: dict[int, list[Start]] = defaultdict(list)
        for starts in self.starts.values():
            for start in starts:
                found[start.pid].append(start)
        return found


def judge(plan: Plan, refs: Sequence[str], log: Log, store: JobStore, faults: Sequence[Happened]) -> Verdict:
    """Return what became of acknowledged jobs.

    Args:
        plan: what the run was to be.
        refs: their references.
        log: what they wrote.
        store: where their ends are.
        faults: what was done.
    """
    verdict = Verdict(seed=plan.seed, jobs=len(refs), faults=dict(Counter(fault.name for fault in faults)))
    wrong = Counter[str]()
    overruns = []
    cut_off: dict[int, list[Happened]] = defaultdict(list)
    for fault in faults:
        for pid in fault.ended.pids:
            cut_off[pid].append(fault)
    for ref in refs:
        try:
            history = store.history(*Ref.parse(ref))
        except JobNotFound:
            verdict.lost.append(ref)
            continue
        last, starts = history[-1], log.starts[ref]
        verdict.second_starts += max(0, len(starts) - 1)
        verdict.interrupted += sum(_was_cut_off(start, log, cut_off) for start in starts[:-1])
        verdict.second_finishes += max(0, sum(version.is_over for version in history) - 1)
        if not last.is_over:
            verdict.lost.append(ref)
            continue
        hangs = last.topic == HANG_TOPIC
        if last.reason != ("timeout" if hangs else "done"):
            wrong[f"{last.reason}: {last.error}"] += 1
            verdict.ended_wrongly.append(ref)
        elif not starts or history[-2].status != "active" or not (hangs or _accounts(last, starts, log)):
            verdict.groundless.append(ref)
        elif hangs:
            began = starts[-1].at
            ended = last.ended_ms * 1_000_000
            by = max(ended, began + int((HANG_TIMEOUT + OVERRUN) * 1e9))  # `ended` is by a clock that may have jumped
            if not any(fault.began < by and fault.over > began for fault in faults):
                overruns.append((ended - began) / 1e9 - HANG_TIMEOUT)
    verdict.wrong_ends = dict(wrong)
    verdict.overrun = Spread.of(overruns)
    verdict.rescue_watchdog = Spread.of(_rescues(log, faults, "watchdog-kill"))
    verdict.rescue_worker = Spread.of(_rescues(log, faults, "worker-kill"))
    verdict.broken = _broken(verdict, plan.second_starts if faults else 0.0)
    verdict.late = _late(verdict, plan.lease)
    return verdict


def _was_cut_off(start: Start, log: Log, cut_off: Mapping[int, Sequence[Happened]]) -> bool:
    """Return whether a start was going on in a process when one of the faults that ended it, or cut it off, came."""
    return any(
        start.at < fault.over and log.finished.get(start.token, fault.over) >= fault.ended.at
        for fault in cut_off.get(start.pid, ())
    )


def note_ticks(verdict: Verdict, ticks: Ticks) -> None:
    """Add to a verdict what became of ticks."""
    verdict.ticks, verdict.ticks_missed, verdict.ticks_doubled = ticks
    if ticks.missed:
        verdict.broken.append(f"{len(ticks.missed)} ticks have no job, such as {ticks.missed[0]}")
    if ticks.doubled:
        verdict.broken.append(f"{len(ticks.doubled)} ticks have several jobs, such as {ticks.doubled[0]}")


def _accounts(job: Job, starts: Sequence[Start], log: Log) -> bool:
    """Return whether a job's accepted result is that of a start of its, which came to its end."""
    return job.result in log.finished and any(start.token == job.result for start in starts)


def _rescues(log: Log, faults: Sequence[Happened], name: str) -> list[float]:
    """Return the seconds from faults of a kind to the next starts of their jobs, if no other came between."""
    by_process = log.by_process()
    found = []
    for place, fault in enumerate(faults):
        if fault.name != name:
            continue
        pids, killed = fault.ended
        for start in (start for pid in pids for start in by_process.get(pid, ())):
            if start.at > killed or log.finished.get(start.token, killed) < killed:
                continue
            again = min((each.at for each in log.starts[start.ref] if each.at > killed), default=0)
            others = (*faults[:place], *faults[place + 1 :])
            if again and not any(other.began < again and other.over > fault.began for other in others):
                found.append((again - killed) / 1e9)
    return found


def _broken(verdict: Verdict, second_starts: float) -> list[str]:
    broken = []
    if verdict.lost:
        broken.append(f"{len(verdict.lost)} acknowledged jobs never ended, such as {verdict.lost[0]}")
    if verdict.wrong_ends:
        broken.append(
            f"{sum(verdict.wrong_ends.values())} jobs ended wrongly, such as by {next(iter(verdict.wrong_ends))}"
        )
    if verdict.second_finishes:
        broken.append(f"{verdict.second_finishes} second finishes were accepted")
    if verdict.groundless:
        broken.append(f"{len(verdict.groundless)} ends that no start accounts for, such as {verdict.groundless[0]}")
    most = second_starts * verdict.jobs
    needless = verdict.second_starts - verdict.interrupted
    if needless > most:
        broken.append(f"{needless} second starts of jobs that no fault cut off, where {most:.0f} are borne")
    return broken


def _late(verdict: Verdict, lease: float) -> list[str]:
    bars = (
        ("a killed WatchDog's jobs ran again", verdict.rescue_watchdog, lease + RESCUE_WATCHDOG),
        ("a killed worker's jobs ran again", verdict.rescue_worker, RESCUE_WORKER),
        ("jobs were ended over their time", verdict.overrun, OVERRUN),
    )
    return [
        f"{what} after {spread.p99:.2f} s (p99), where {bar:g} s are borne"
        for what, spread, bar in bars
        if spread.p99 > bar
    ]
