from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from herojobs.ourdb import CorruptRecord, DiskFull, ForeignTruncation, NotFound, OurDB, state
from herojobs.ourdb.format import pack_header
from ourdb.jobs import fill, id_of, job

SUPPORT = Path(__file__).parent


def test_a_database_cut_anywhere_in_its_last_records_keeps_all_before(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    starts = fill(folder)
    whole = (folder / "0.db").read_bytes()
    for length in range(starts[-3], len(whole)):
        shutil.rmtree(folder / "lookup", ignore_errors=True)
        (folder / "0.db").write_bytes(whole[:length])
        with OurDB(folder, id_of=id_of) as db:
            for id in (1, 3, 4, 5):
                assert db.get(id) == job(id)
            assert db.get(2) in (job(2), job(2, "second"))
            assert db.next_id >= 6
            expected = 6 if length > starts[-3] else db.next_id
            db.add(job)
            assert db.next_id >= expected
            assert (report := db.check()).ok, report
        torn = length not in starts
        assert (folder / "lookup" / "torn").exists() == torn


def test_a_torn_record_behind_whole_ones_that_the_state_does_not_know(tmp_path: Path) -> None:
    """A writer died in the middle of a batch: the whole records are taken in, the half one is cut, and all goes on."""
    folder = tmp_path / "db"
    with OurDB(folder, id_of=id_of) as db:
        db.add(job)
        before = (folder / "lookup" / "state").read_bytes()
        db.add(job)
        db.add(job)
    (folder / "lookup" / "state").write_bytes(before)
    with open(folder / "0.db", "ab") as data:
        data.write(pack_header(job(4), 0) + job(4)[:5])
    for id in (4, 5):
        with OurDB(folder, id_of=id_of) as db:
            assert db.add(job) == id
            assert [db.get(each) for each in range(1, id + 1)] == [job(each) for each in range(1, id + 1)]
            assert db.check().ok


def test_without_a_table_ids_come_from_the_records(tmp_path: Path) -> None:
    fill(tmp_path / "db")
    shutil.rmtree(tmp_path / "db" / "lookup")
    with OurDB(tmp_path / "db", id_of=id_of) as db:
        assert [version.data for version in db.history(2)] == [job(2, "third"), job(2, "second"), job(2)]
        assert db.next_id == 7


def test_records_without_an_id_get_their_rank_if_nothing_speaks_against_it(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    with OurDB(folder) as db:
        db.add_many([b'{"jobid":0,"n":1}', b'{"jobid":0,"n":2}'])
        db.set(2, b'{"jobid":2,"n":2}')
    shutil.rmtree(folder / "lookup")
    with OurDB(folder, id_of=id_of) as db:
        assert db.get(1) == b'{"jobid":0,"n":1}'
        assert len(db.history(2)) == 2
        assert db.doubtful == {1}


def test_what_a_foreign_program_appends_is_taken_in_and_marked(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    fill(folder)
    with OurDB(folder, id_of=id_of) as db:
        tip = db.locate(3)
    update, new = b'{"jobid":3,"foreign":1}', b'{"jobid":0,"foreign":2}'
    with (folder / "0.db").open("ab") as file:
        file.write(pack_header(update, tip) + update + pack_header(new, 0) + new)
    with OurDB(folder, id_of=id_of) as db:
        assert db.get(3) == update
        assert db.get(7) == new
        assert db.doubtful == {7}
        assert db.add(job) == 8


def test_a_database_that_a_foreign_program_cut_is_read_only_until_repaired(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    starts = fill(folder)
    os.truncate(folder / "0.db", starts[-1])
    with OurDB(folder, id_of=id_of) as db:
        assert db.get(1) == job(1)
        with pytest.raises(ForeignTruncation):
            db.add(job)
        with pytest.raises(CorruptRecord):
            db.get(2)
        report = db.check(repair=True)
        assert report.repaired
        assert db.get(2) == job(2, "second")
        assert db.add(job) == 7


def test_a_foreign_delete_leaves_ids_that_nobody_acts_on(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    starts = fill(folder)
    with (folder / "0.db").open("r+b") as file:  # the third version of id 2, as the originals delete
        file.seek(starts[-1])
        file.write(bytes(12 + len(job(2, "third"))))
    with OurDB(folder, id_of=id_of) as db, pytest.raises(NotFound):
        db.get(2)
    shutil.rmtree(folder / "lookup")
    with OurDB(folder, id_of=id_of) as db:
        assert db.get(2) == job(2, "second")
        assert 2 in db.doubtful
        assert db.check().uncertain


def test_damage_in_the_middle_is_told_and_stepped_over(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    starts = fill(folder)
    with (folder / "0.db").open("r+b") as file:
        file.seek(starts[3] + 14)
        file.write(b"????")
    with OurDB(folder, id_of=id_of) as db:
        with pytest.raises(CorruptRecord):
            db.get(4)
        report = db.check()
        assert [fault.id for fault in report.faults][:1] == [4]
        assert "4" in str(report)
        assert db.get(5) == job(5)


def run_until_killed(code: str, folder: Path, steps: int) -> list[int]:
    """Run a writer and kill it after it has acknowledged some ids; return those."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, cwd=SUPPORT.parent, text=True
    )
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(steps)]
    process.kill()
    acknowledged += [int(line) for line in process.stdout.read().split("\n")[:-1] if line]
    process.wait()
    process.stdout.close()
    return acknowledged


HAMMER = """
import sys
from ourdb.jobs import id_of, job
from herojobs.ourdb import OurDB
with OurDB(sys.argv[1], id_of=id_of, file_size=20_000) as db:
    while True:
        for id in db.add_many([job] * 3):
            db.set(id, job(id, "again"))
            sys.stdout.write(f"{id}\\n")
        sys.stdout.flush()
"""


COMPACTS = """
import sys
from ourdb.jobs import id_of
from herojobs.ourdb import OurDB
with OurDB(sys.argv[1], id_of=id_of, file_size=20_000) as db:
    while True:
        db.compact()
        print(db.generation, flush=True)
        db.check(repair=True)
"""


def test_two_writers_killed_at_random_lose_no_acknowledged_id(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    folder = tmp_path / "db"
    rng = random.Random(7)
    acknowledged: list[int] = []
    with ThreadPoolExecutor(2) as pool:
        for _ in range(4):
            rounds = [pool.submit(run_until_killed, HAMMER, folder, rng.randrange(3, 90)) for _ in range(2)]
            run_until_killed(COMPACTS, folder, rng.randrange(1, 4))
            for done in rounds:
                acknowledged += done.result()
    assert len(acknowledged) == len(set(acknowledged)) > 100
    for lost_table in (False, True):
        if lost_table:
            shutil.rmtree(folder / "lookup")
        with OurDB(folder, id_of=id_of) as db:
            assert (report := db.check()).ok, report
            for id in acknowledged:
                assert db.get(id) == job(id, "again")


STEPS = ("pwrite", "fsync", "fdatasync", "unlink", "replace", "rename", "rmdir", "ftruncate")
"""Functions of `os` that change what is on the disk."""


def dies(step: int, folder: Path, act: Callable[[OurDB], object]) -> bool:
    """Let a child process act on a database and die before its nth change of the disk; return whether it died."""
    pid = os.fork()
    if pid:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code in (0, 9)
        return code == 9
    code = 1
    try:
        left = [step]

        def counted(function: Callable[..., object]) -> Callable[..., object]:
            def call(*args: object, **kwargs: object) -> object:
                left[0] -= 1
                if left[0] == 0:
                    os._exit(9)
                return function(*args, **kwargs)

            return call

        db = OurDB(folder, id_of=id_of, file_size=400, sync="never")  # no thread that flushes at its own time
        for name in STEPS:
            setattr(os, name, counted(getattr(os, name)))
        act(db)
        code = 0
    finally:
        os._exit(code)


ACTIONS: dict[str, Callable[[OurDB], object]] = {
    "compact": lambda db: db.compact(),
    "delete": lambda db: db.delete(2),
    "repair": lambda db: db.check(repair=True),
    "roll over": lambda db: [db.set(2, job(2, "third" + "x" * 300)) for _ in range(3)],
}


@pytest.mark.parametrize("first", ["who opens it", "who has it open"])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_crash_at_any_step_ends_before_or_after_never_between(tmp_path: Path, action: str, first: str) -> None:
    for step in range(1, 80):
        folder = tmp_path / f"db{step}"
        fill(folder)
        with OurDB(folder, id_of=id_of) as db:
            db.delete(6)
        with OurDB(folder, id_of=id_of, file_size=400) as has_it_open:
            died = dies(step, folder, ACTIONS[action])
            if first == "who has it open":
                assert has_it_open.add(job) == 7
            with OurDB(folder, id_of=id_of, file_size=400) as opens_it:
                if first == "who opens it":
                    assert opens_it.add(job) == 7
                for db in (opens_it, has_it_open):
                    assert db.get_many([1, 3, 4, 5, 6, 7]) == [job(1), job(3), job(4), job(5), None, job(7)]
                    if action == "delete":
                        assert db.get_many([2]) in ([None], [job(2, "third")])
                    else:
                        tail = [version.data for version in db.history(2)][-3:]
                        assert tail == [job(2, "third"), job(2, "second"), job(2)]
                assert has_it_open.add(job) == 8
                assert opens_it.get(8) == job(8)
                assert opens_it.check().ok
                deleted = opens_it.get_many([2]) == [None]
        if deleted:
            assert b"second" not in (folder / "0.db").read_bytes()
        if not died:
            break
    assert 5 < step < 79


def test_a_writer_that_died_in_a_roll_over_leaves_a_file_that_can_be_used(tmp_path: Path) -> None:
    for left in (b"", b"\0", b"\0torn"):
        folder = tmp_path / f"db{len(left)}"
        with OurDB(folder, id_of=id_of, file_size=100) as db:
            db.add_many([job] * 5)
            last = max(db.files.numbers())
        (folder / f"{last + 1}.db").write_bytes(left)
        with OurDB(folder, id_of=id_of, file_size=100) as db:
            assert db.add(job) == 6
            assert db.get_many(range(1, 7)) == [job(id) for id in range(1, 7)]
            assert (report := db.check()).ok, report


def test_compaction_keeps_live_versions_and_drops_the_rest(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    fill(folder)
    with OurDB(folder, id_of=id_of) as db, OurDB(folder, id_of=id_of) as other:
        assert other.get(2) == job(2, "third")
        db.delete(4)
        before = db.generation
        db.compact(keep=2)
        assert db.generation == other.generation == before + 1
        assert [version.data for version in other.history(2)] == [job(2, "third"), job(2, "second")]
        assert other.get_many([1, 4]) == [job(1), None]
        assert other.add(job) == 7
        assert db.get(7) == job(7)
        report = db.check()
        assert (report.ids, report.unreached) == (6, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit's signal is Linux's")
def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    pid = os.fork()
    if pid == 0:  # the limit is for good, so it belongs to a process of its own
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            with OurDB(folder, id_of=id_of, record_nr_max=1000) as db:
                db.add_many([job] * 3)
                resource.setrlimit(resource.RLIMIT_FSIZE, (6_500, 6_500))
                db.add(b"x" * 6_000)
                for _ in range(2):
                    with pytest.raises(DiskFull, match="nothing was written"):
                        db.add(b"x" * 1_000)
                assert db.next_id == 5
                db.add(b"small")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    with OurDB(folder, id_of=id_of, record_nr_max=1000) as db:
        assert db.get_many([1, 2, 3, 5]) == [job(1), job(2), job(3), b"small"]
        assert db.check().ok


def test_another_boot_trusts_only_what_was_left_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "db"
    fill(folder)  # closed: clean
    events: list[str] = []
    monkeypatch.setattr(state, "_boot", b"another boot 123")
    with OurDB(folder, id_of=id_of, on_event=events.append) as db:
        assert db.get(2) == job(2, "third")
        assert not events
    db = OurDB(folder, id_of=id_of)
    monkeypatch.setattr(state, "_boot", b"another boot 124")
    db.add(job)  # and the machine goes down
    monkeypatch.setattr(state, "_boot", b"another boot 125")
    with OurDB(folder, id_of=id_of, on_event=events.append) as fresh:
        assert events
        assert fresh.get(7) == job(7)
    db.close()


def test_a_forked_child_has_a_lock_of_its_own(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db", id_of=id_of) as db:
        db.add(job)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for _ in range(200):
                    db.add(job)
                code = 0
            finally:
                os._exit(code)
        for _ in range(200):
            db.add(job)
        assert os.waitpid(pid, 0)[1] == 0
        assert db.next_id == 402
        assert db.get_many(range(1, 402)) == [job(id) for id in range(1, 402)]
