"""The verdict finds what is wrong: each promise is broken here by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from herojobs.chaos.faults import NOTHING, Ended, Happened
from herojobs.chaos.stage import Plan
from herojobs.chaos.ticking import Ticking
from herojobs.chaos.verdict import Log, Verdict, judge, note_ticks
from herojobs.job import Job
from herojobs.names import Queue
from herojobs.schedules import ScheduleBook
from herojobs.settings import load
from herojobs.store import JobStore, Put

Q = Queue("a", "sync")
HANGS = Queue("a", "hang")
SECOND = 1_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    made = JobStore(load({}, home=tmp_path / "home"))
    yield made
    made.close()


def job(store: JobStore, *states: str, queue: Queue = Q, result: str = "1-1", ended: float = 0) -> str:
    """Store a job that goes through some states; return its reference."""
    made = Job(circle_id=queue.circle, topic=queue.topic, params="x")
    store.add_many(queue, [made])
    for state in states:
        made.status, _, made.reason = state.partition(" ")
        made.result = result
        made.ended_ms = int(ended * 1000)
        store.put_many(queue, [Put(made.job_id, made.to_json(), store.tip(queue, made.job_id)[1])])
    return str(made.ref)


def verdict(store: JobStore, tmp_path: Path, refs: list[str], lines: str, *faults: Happened) -> Verdict:
    (tmp_path / "marks").write_text(lines)
    return judge(Plan(), refs, Log(tmp_path / "marks"), store, faults)


def test_all_is_well(store: JobStore, tmp_path: Path) -> None:
    ref = job(store, "active", "done done")
    found = verdict(store, tmp_path, [ref], f"start {ref} 1-1 1 5\nfinish {ref} 1-1 1 6\n")
    assert (found.broken, found.jobs, found.second_starts) == ([], 1, 0)


@pytest.mark.parametrize(
    ("states", "lines", "told"),
    [
        (["active"], "start {} 1-1 1 5", "never ended"),
        (["active", "done done", "done done"], "start {0} 1-1 1 5\nfinish {0} 1-1 1 6", "second finish"),
        (["active", "done done"], "", "no start accounts"),
        (["active", "done done"], "start {} 1-1 1 5", "no start accounts"),
        (["active", "done done"], "start {0} 2-2 1 5\nfinish {0} 2-2 1 6", "no start accounts"),
        (["done done"], "start {0} 1-1 1 5\nfinish {0} 1-1 1 6", "no start accounts"),
        (["active", "error lost"], "start {} 1-1 1 5", "ended wrongly"),
        (["active", "done done"], "start {0} 1-1 1 5\nstart {0} 2-2 2 5\nfinish {0} 1-1 1 6", "1 second starts"),
    ],
)
def test_what_broke_is_named(store: JobStore, tmp_path: Path, states: list[str], lines: str, told: str) -> None:
    ref = job(store, *states)
    found = verdict(store, tmp_path, [ref], lines.format(ref))
    assert any(told in promise for promise in found.broken)


def test_a_job_that_nobody_stored_is_lost(store: JobStore, tmp_path: Path) -> None:
    assert verdict(store, tmp_path, ["a/sync/77"], "").lost == ["a/sync/77"]


def test_starts_again_of_jobs_that_a_fault_cut_off_are_told_apart(store: JobStore, tmp_path: Path) -> None:
    """Of two jobs that started twice, one was over when its worker was killed."""
    refs = [job(store, "active", "done done", result=f"{n}-2") for n in range(2)]
    lines = "".join(
        f"start {ref} {n}-1 7 {SECOND}\nstart {ref} {n}-2 9 {3 * SECOND}\nfinish {ref} {n}-2 9 {4 * SECOND}\n"
        for n, ref in enumerate(refs)
    )
    lines += f"finish {refs[1]} 1-1 7 {SECOND + 1}\n"
    kill = Happened("worker-kill", 2 * SECOND, 2 * SECOND, Ended([7], 2 * SECOND))
    found = verdict(store, tmp_path, refs, lines, kill)
    assert (found.second_starts, found.interrupted) == (2, 1)
    assert "1 second starts of jobs that no fault cut off" in found.broken[0]


def test_ticks_without_a_job_and_with_two_are_found(store: JobStore, tmp_path: Path) -> None:
    settings = load({}, home=tmp_path / "home")
    book = ScheduleBook(settings)
    ticking = Ticking(settings, tmp_path / "marks", 1, 1)
    ticking.start()
    (schedule,) = book.all()
    for _ in range(3):
        schedule = book.get(schedule.name)
        if not schedule.made:
            made = schedule.make(schedule.next_ms)
            store.add_many(made.queue, [made, schedule.make(schedule.next_ms)])
        book.advance(schedule, schedule.timetable.next_after(schedule.next_ms), ref="x")
    ticking.stop()
    ticks = ticking.judge(store)
    assert (ticks.due, ticks.doubled) == (3, [f"a {made.schedule}"])
    assert len(ticks.missed) == 2
    assert len(ticking.open_refs(store)) == 2
    found = Verdict(seed=1, jobs=0)
    note_ticks(found, ticks)
    assert [told.split(",")[0] for told in found.broken] == ["2 ticks have no job", "1 ticks have several jobs"]
    ticking.close()
    book.close()


def test_rescues_are_measured_from_the_kill_to_the_next_start(store: JobStore, tmp_path: Path) -> None:
    """Only of what ran in the killed processes then; for a worker only if no other fault came between."""
    refs = [job(store, "active", "done done", result=f"{n}-2") for n in range(3)]
    lines = "".join(
        f"start {ref} {n}-1 {n} {SECOND}\nstart {ref} {n}-2 9 {(n + 3) * SECOND}\nfinish {ref} {n}-2 9 {9 * SECOND}\n"
        for n, ref in enumerate(refs)
    )
    lines += f"finish {refs[2]} 2-1 2 {SECOND + 1}\n"
    kill = Happened("worker-kill", 2 * SECOND, 2 * SECOND, Ended([0, 1, 2], 2 * SECOND))
    found = verdict(store, tmp_path, refs, lines, kill)
    assert (found.rescue_worker.tries, found.rescue_worker.p50, found.rescue_worker.most) == (2, 2.0, 2.0)
    found = verdict(store, tmp_path, refs, lines, kill, Happened("redis-wipe", 3 * SECOND + 5, 3 * SECOND + 6, NOTHING))
    assert found.rescue_worker.tries == 1
    found = verdict(store, tmp_path, refs, lines, kill._replace(name="watchdog-kill"))
    assert (found.rescue_watchdog.tries, found.rescue_worker.tries) == (2, 0)
    (late,) = verdict(store, tmp_path, refs, lines, kill).late
    assert "a killed worker's jobs ran again after 2.00 s" in late


def test_overruns_are_measured_from_the_start_that_the_job_wrote(store: JobStore, tmp_path: Path) -> None:
    ref = job(store, "active", "error timeout", queue=HANGS, ended=13.5)
    lines = f"start {ref} 1-1 1 {10 * SECOND}\n"
    found = verdict(store, tmp_path, [ref], lines)
    assert (found.overrun.tries, found.overrun.most) == (1, 2.5)
    assert "jobs were ended over their time after 2.50 s" in found.late[0]
    assert not verdict(
        store, tmp_path, [ref], lines, Happened("redis-slow", 12 * SECOND, 14 * SECOND, NOTHING)
    ).overrun.tries
