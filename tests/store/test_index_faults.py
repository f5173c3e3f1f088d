"""The index's file lost, damaged or replaced; processes that are killed, or write while others read."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from herojobs.settings import load
from herojobs.store import JobIndex, JobStore
from store.making import Q, ids, new, put

CATCH_UP = """
import sys
from pathlib import Path
from herojobs.settings import load
from herojobs.store import JobIndex, JobStore, catchup
catchup.BATCH = int(sys.argv[2])
store = JobStore(load({}, home=Path(sys.argv[1])))
index = JobIndex(store)
sys.stdin.readline()
def tell(told):
    print(told.versions, flush=True)
    if len(sys.argv) > 3:
        sys.stdin.readline()
index.catch_up(progress=tell, text=True, wait=60)
print("done", flush=True)
"""
WRITE = """
import sys
from pathlib import Path
from herojobs.job import encode
from herojobs.names import Queue
from herojobs.settings import load
from herojobs.store import JobStore, Put
from store.making import Q, new
store = JobStore(load({}, home=Path(sys.argv[1])))
for _ in range(60):
    jobs = new(20)
    store.add_many(Q, jobs)
    tips = store.tips(Q, [job.job_id for job in jobs])
    for job in jobs:
        job.status = "done"
    assert all(store.put_many(Q, [Put(job.job_id, encode(job), tip.position) for job, tip in zip(jobs, tips)]))
    store.delete(Q, [jobs[0].job_id])
store.close()
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def remove(path: Path) -> None:
    path.unlink()


def remove_all(path: Path) -> None:
    for each in path.parent.glob("index.sqlite3*"):
        each.unlink()


def rubbish(path: Path) -> None:
    path.write_bytes(b"rubbish" * 5_000)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def garble(path: Path) -> None:
    with path.open("r+b") as file:
        for page in range(1, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 100)


def another_version(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()


def another_database(path: Path) -> None:
    path.unlink()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE job (mine TEXT)")
    db.close()


HARMS = [remove, remove_all, rubbish, empty, cut, garble, another_version, another_database]


@pytest.mark.parametrize("harm", HARMS)
def test_a_harmed_index_is_made_anew(store: JobStore, index: JobIndex, harm: Callable[[Path], None]) -> None:
    store.add_many(Q, new(300))
    assert len(ids(index, limit=1000)) == 300
    index.close()
    harm(store.index_path)
    assert len(ids(index, limit=1000)) == 300
    assert ids(index, text="word299") == [300]
    assert index.open_ids(Q) == list(range(1, 301))
    assert index.counts()["new"] == 300


@pytest.mark.parametrize("harm", [remove, remove_all, rubbish, another_database])
def test_an_index_harmed_while_it_is_open(store: JobStore, index: JobIndex, harm: Callable[[Path], None]) -> None:
    store.add_many(Q, new(300))
    other = JobIndex(store)
    for each in (index, other):
        assert len(ids(each, limit=1000)) == 300
    harm(store.index_path)
    put(store, 7, status="done")
    for each in (index, other):
        assert ids(each, status="done") == [7]
        assert len(each.open_ids(Q)) == 299
        assert ids(each, text="word299") == [300]
    other.close()


def test_an_index_removed_in_the_middle_of_a_catch_up(
    store: JobStore, index: JobIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("herojobs.store.catchup.BATCH", 50)
    store.add_many(Q, new(300))
    removed: list[int] = []

    def then(_: object) -> None:
        if not removed:
            removed.append(1)
            store.index_path.unlink()

    index.catch_up(progress=then)
    assert len(index.open_ids(Q, fresh=False)) == 300


def test_a_catch_up_that_is_killed_is_gone_on_with(store: JobStore, index: JobIndex, tmp_path: Path) -> None:
    store.add_many(Q, new(3_000))
    for kills in range(3):
        process = start(CATCH_UP, tmp_path, 100, "by the step")
        assert process.stdout is not None
        for _ in range(1 + kills):
            go(process)
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
    told: list[int] = []
    index.catch_up(progress=lambda progress: told.append(progress.versions))
    assert 0 < told[-1] < 3_000  # some of it was taken in before
    assert index.open_ids(Q, fresh=False) == list(range(1, 3_001))
    assert ids(index, text="word2999") == [3_000]


def test_several_processes_write_while_several_catch_up(store: JobStore, index: JobIndex, tmp_path: Path) -> None:
    writers = [start(WRITE, tmp_path) for _ in range(2)]
    readers = [start(CATCH_UP, tmp_path, 50) for _ in range(2)]
    for reader in readers:
        go(reader)
    while any(writer.poll() is None for writer in writers):
        for job in index.find(status="done", limit=50).jobs:
            assert job.status == "done"
    for process in [*writers, *readers]:
        process.communicate()
        assert process.returncode == 0
    assert index.counts() == {"new": 0, "active": 0, "error": 0, "done": 2 * 60 * 19}
    assert index.open_ids(Q) == []
    assert len(ids(index, text="word1", limit=1000)) == 1000


def test_a_full_disk_is_told_and_harms_nothing(store: JobStore, index: JobIndex, tmp_path: Path) -> None:
    store.add_many(Q, new(10))
    index.catch_up()
    with index._writer.connection() as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")
        store.add_many(Q, new(5_000))
        with pytest.raises(OSError, match=r"index\.sqlite3: .*full"):
            index.catch_up()
        assert len(ids(index, fresh=False)) == 10
        db.execute("PRAGMA max_page_count = 1000000")
    assert index.counts()["new"] == 5_010


def test_a_home_moved_elsewhere_keeps_its_index(store: JobStore, index: JobIndex, tmp_path: Path) -> None:
    store.add_many(Q, new(10))
    assert len(ids(index, text="word")) == 10
    index.close()
    store.close()
    shutil.copytree(tmp_path / "var", tmp_path / "copy" / "var")
    copy = JobStore(load({}, home=tmp_path / "copy"))
    copied = JobIndex(copy)
    copy.add_many(Q, new(1))
    assert len(ids(copied, text="word")) == 11
    copied.close()
    copy.close()
