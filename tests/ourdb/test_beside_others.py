"""Faults between processes, threads and programs: each is stepped, none is hoped for."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import random
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from herojobs.ourdb import DatabaseLocked, DiskFull, ForeignTruncation, NotFound, OurDB, OurDBError, after
from herojobs.ourdb import state as module
from herojobs.ourdb.format import pack_header
from herojobs.ourdb.lock import WriteLock
from ourdb.jobs import fill, id_of, job


def in_child(work: Callable[[], None]) -> int:
    """Run in a forked process; return its exit code, 1 for an exception, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# compaction beside an open database


def test_closing_after_another_compacted_leaves_the_database_writable(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    fill(folder)
    one = OurDB(folder, id_of=id_of)
    one.add(job)
    with OurDB(folder, id_of=id_of) as other:
        other.delete(4)
        other.compact()
    one.close()
    with OurDB(folder, id_of=id_of) as db:
        assert db.add(job) == 8


def test_adding_after_another_compacted_appends_right_behind(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    fill(folder)
    with OurDB(folder, id_of=id_of) as one, OurDB(folder, id_of=id_of) as other:
        one.add(job)
        other.delete(4)
        other.compact()
        size = (folder / "0.db").stat().st_size
        one.add(job)
        assert (folder / "0.db").stat().st_size == size + 12 + len(job(8))
        assert other.check().ok


def test_a_compaction_killed_at_its_marker_takes_no_later_record_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "db"
    fill(folder)
    with OurDB(folder, id_of=id_of) as open_all_along:
        open_all_along.get(1)

        def compact_and_die() -> None:
            db = OurDB(folder, id_of=id_of)
            db.state_file.write = lambda state: os._exit(9)  # type: ignore[method-assign]
            db.compact()

        assert in_child(compact_and_die) == 9
        acknowledged = open_all_along.add(job)
    with OurDB(folder, id_of=id_of) as db:
        assert db.get(acknowledged) == job(acknowledged)


def test_a_reader_caught_by_a_compaction_never_gets_another_id(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    with OurDB(folder, id_of=id_of) as db:
        db.add_many([job] * 3)
    with OurDB(folder, id_of=id_of) as reader, OurDB(folder, id_of=id_of) as other:
        look_up = reader.table.get_many

        def caught(ids: list[int]) -> list[int]:
            found = look_up(ids)
            reader.table.get_many = look_up  # type: ignore[method-assign]
            other.delete(1)
            other.compact()
            other.set(2, job(2, "newer"))
            return found

        for fd in reader.files._open.values():
            os.close(fd)
        reader.files._open.clear()  # as one that hasn't read yet
        reader.table.get_many = caught  # type: ignore[method-assign]
        assert reader.get_many([1]) in ([None], [job(1)])


def test_threads_read_on_through_compactions(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    fill(folder)
    with OurDB(folder, id_of=id_of, sync="never", dump=False) as db:
        stop, errors = threading.Event(), []

        def read() -> None:
            try:
                while not stop.is_set():
                    assert db.get(2) == job(2, "third")
                    assert len(db.history(2)) == 3
            except BaseException as e:
                errors.append(e)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(15):
            db.compact()
        stop.set()
        for thread in threads:
            thread.join()
        assert not errors


# group commit


def test_who_is_told_locked_has_written_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    with OurDB(folder) as db:
        slow, told = threading.Event(), []

        def leads(id: int) -> bytes:
            slow.wait(60)
            return b"leader"

        def follows() -> None:
            try:
                told.append(db.add(b"follower", lock_timeout=0.5))
            except DatabaseLocked as e:
                told.append(e)

        # Another process's lock, here another descriptor's: the leader waits for the file while the follower queues.
        import fcntl

        fd = os.open(folder / "lookup" / "lock", os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_EX)
        leader = threading.Thread(target=lambda: db.add(leads))
        leader.start()
        while not db._writer._requests:
            time.sleep(0.001)
        follower = threading.Thread(target=follows)
        follower.start()
        while len(db._writer._requests) < 2:
            time.sleep(0.001)
        os.close(fd)
        follower.join(2)
        slow.set()
        follower.join()
        leader.join()
        written = [version.data for version in db.scan()]
        if isinstance(told[0], DatabaseLocked):
            assert b"follower" not in written
        else:
            assert b"follower" in written


def test_who_will_not_wait_waits_for_no_thread(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db") as db:
        begun, go_on = threading.Event(), threading.Event()

        def slow(id: int) -> bytes:
            begun.set()
            assert go_on.wait(60)
            return b"slow"

        writing = threading.Thread(target=db.add, args=(slow,))
        writing.start()
        assert begun.wait(60)
        with pytest.raises(DatabaseLocked):
            db.add(b"refused", lock_timeout=0)
        go_on.set()  # only now: a call that waited would never have come back
        writing.join()
        assert db.get_many([1, 2]) == [b"slow", None]


def test_who_will_not_wait_waits_for_no_thread_that_could_take_its_request(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db") as db:
        begins, begun, go_on = threading.Event(), threading.Event(), threading.Event()
        acquire = db.lock.acquire

        def slow(id: int) -> bytes:
            begun.set()
            assert go_on.wait(60)
            return b"slow"

        def acquired(timeout: float) -> None:
            if timeout:
                acquire(timeout)
                assert begins.wait(60)  # has the lock, and hasn't looked yet who else wants something written
            else:
                begins.set()
                assert begun.wait(60)
                acquire(timeout)

        db.lock.acquire = acquired  # type: ignore[method-assign]
        writing = threading.Thread(target=db.add, args=(slow,))
        writing.start()
        refused: list[BaseException] = []

        def refuse() -> None:
            try:
                db.add(b"refused", lock_timeout=0)
            except DatabaseLocked as e:
                refused.append(e)

        trying = threading.Thread(target=refuse)
        trying.start()
        trying.join(60)
        assert refused
        go_on.set()
        for thread in (writing, trying):
            thread.join()
        assert db.get_many([1, 2]) == [b"slow", None]


def test_a_record_maker_cannot_write_into_its_own_commit(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db") as db:

        def nested(id: int) -> bytes:
            db.add(b"inner")
            return b"outer outer"

        with pytest.raises(OurDBError):
            db.add(nested)
        assert db.add(b"next") == 1
        assert db.check().ok


# full disk


@pytest.mark.parametrize("limit", [0, 40, 127])
def test_a_state_file_that_the_disk_has_no_room_for(tmp_path: Path, limit: int) -> None:
    folder = tmp_path / "db"
    fill(folder)
    os.truncate(folder / "lookup" / "state", limit)

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with pytest.raises(DiskFull, match="no room"):
            OurDB(folder, id_of=id_of)

    assert in_child(work) == 0
    with OurDB(folder, id_of=id_of) as db:
        assert db.get(2) == job(2, "third")
        assert db.add(job) == 7


@pytest.mark.parametrize("limit", [3_000, 4_096])
def test_a_table_that_takes_half_of_a_batch_acknowledges_none(tmp_path: Path, limit: int) -> None:
    folder = tmp_path / "db"

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with OurDB(folder, record_nr_max=1000, sync="never", dump=False) as db:
            db.add_many([b"x"] * (limit // 6 - 300))
            db.add_many([b"y"] * 10)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            db.file_size = 100  # data goes to new, small files: the table alone meets the limit
            full = False
            while not full:
                before = db.next_id
                try:
                    ids = db.add_many([b"z"] * 35)
                except DiskFull:
                    full = True
                else:
                    assert None not in db.get_many(ids)
            assert db.next_id == before

    assert in_child(work) == 0


@pytest.mark.parametrize("ids", [(3, 4, 5, 6), (9, 3, 4, 7, 5)])
@pytest.mark.parametrize("refused", range(1, 8))
def test_entries_are_as_before_when_one_of_them_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ids: tuple[int, ...], refused: int
) -> None:
    with OurDB(tmp_path / "db", sync="never", dump=False) as db:
        db.add_many([b"x"] * 10)
        before = db.tips(range(11)), db.next_id
        calls = itertools.count(1)
        write = os.pwrite

        def full(fd: int, data: bytes, position: int) -> int:
            if next(calls) == refused:
                raise OSError(errno.ENOSPC, "full")
            return write(fd, data, position)

        monkeypatch.setattr(os, "pwrite", full)
        failed = False
        try:
            db.set_many([(id, b"y", None) for id in ids])
        except DiskFull:
            failed = True
        monkeypatch.setattr(os, "pwrite", write)
        assert failed == (next(calls) > refused)
        if failed:
            assert (db.tips(range(11)), db.next_id) == before
        else:
            assert db.get_many(ids) == [b"y"] * len(ids)
        assert db.add(b"z") == 11
        assert db.check().ok


# files


@pytest.mark.parametrize("number", [0, 1])
def test_a_data_file_that_was_made_and_not_begun_is_used(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "db"
    if number:
        with OurDB(folder, file_size=20) as db:
            db.add(b"x" * 30)
    else:
        folder.mkdir()
    (folder / f"{number}.db").touch()  # where a writer died
    with OurDB(folder, file_size=20) as db:
        id = db.add(b"y")
        assert db.get(id) == b"y"


@pytest.mark.parametrize("number", [0, 1])
def test_a_cut_of_any_file_is_noticed(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "db"
    with OurDB(folder, id_of=id_of, file_size=60) as db:
        db.add_many([job] * 8)
    os.truncate(folder / f"{number}.db", 1)  # what the originals do when they roll over
    with OurDB(folder, id_of=id_of, file_size=60) as db:
        with pytest.raises(ForeignTruncation):
            db.add(job)
        db.check(repair=True)
        assert db.add(job) == 9


def test_what_a_foreign_program_appends_to_an_early_file_is_taken_in(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    with OurDB(folder, id_of=id_of, file_size=60) as db:
        db.add_many([job] * 8)
        tip = db.locate(8)
    update, new = b'{"jobid":8,"foreign":1}', b'{"jobid":0,"foreign":2}'
    with (folder / "0.db").open("ab") as file:
        file.write(pack_header(update, tip) + update + pack_header(new, 0) + new)
    with OurDB(folder, id_of=id_of, file_size=60) as db:
        assert db.get(8) == update
        assert db.get(9) == new
        assert db.doubtful == {9}


# whose a record is


def test_a_foreign_program_that_counts_from_one_takes_no_id_of_ours(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    fill(folder)
    where = (folder / "0.db").stat().st_size
    new, saved = b'{"jobid":0,"foreign":1}', b'{"jobid":1,"foreign":2}'
    with (folder / "0.db").open("ab") as file:  # as the Go client: added without an id, then saved with the one it got
        file.write(pack_header(new, 0) + new + pack_header(saved, where) + saved)
    for lost in (False, False, True):
        if lost:
            shutil.rmtree(folder / "lookup")
        with OurDB(folder, id_of=id_of) as db:
            db.check(repair=True)
            assert db.get(1) == job(1)
            assert [version.data for version in db.history(7)] == [saved, new]
            assert db.doubtful == {7}
            assert db.next_id == 8
            assert db.check().ok


def test_an_adopted_id_that_was_confirmed_is_kept_by_a_repair(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    fill(folder)
    where = (folder / "0.db").stat().st_size
    new, saved = b'{"jobid":0,"foreign":1}', b'{"jobid":1,"foreign":2}'
    with (folder / "0.db").open("ab") as file:
        file.write(pack_header(new, 0) + new + pack_header(saved, where) + saved)
    with OurDB(folder, id_of=id_of) as db:
        db.confirm()
        db.check(repair=True)
        assert db.get_many([1, 7]) == [job(1), saved]
        assert not db.doubtful


def test_a_foreign_program_does_not_bring_back_a_deleted_id(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    fill(folder)
    with OurDB(folder, id_of=id_of) as db:
        db.delete(3)
    with (folder / "0.db").open("ab") as file:
        file.write(pack_header(job(3), 0) + job(3))
    for _ in range(2):
        with OurDB(folder, id_of=id_of) as db:
            assert db.get_many([3, 7]) == [None, job(3)]
            assert db.doubtful == {7}
            db.check(repair=True)


def test_a_flipped_previous_location_gives_no_other_job_away(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    with OurDB(folder, id_of=id_of) as db:
        db.add_many([job] * 3)
        second = db.locate(2)
    with (folder / "0.db").open("r+b") as file:
        file.seek(second + 11)
        file.write(b"\x01")  # one bit: the version before is now said to be the first record
    with OurDB(folder, id_of=id_of) as db:
        assert [version.data for version in db.history(2) if version.ok] == [job(2)]
        assert not db.check().ok
        db.delete(2)
        assert db.get(1) == job(1)


def test_an_unattributed_record_is_not_given_to_id_0(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    with OurDB(folder, incremental=False) as db:
        db.set(0, b"zero")
        state = (folder / "lookup" / "state").read_bytes()
        table = (folder / "lookup" / "data").read_bytes()
        db.set_many([(5, b"five", None), (5, b"five again", None)])
    (folder / "lookup" / "state").write_bytes(state)  # the writer died before the table
    (folder / "lookup" / "data").write_bytes(table)
    with OurDB(folder, incremental=False) as db:
        assert db.get(0) == b"zero"


# deletion


@pytest.mark.parametrize("erased", [0, 1, 2])
def test_a_deletion_that_died_is_finished(tmp_path: Path, erased: int) -> None:
    folder = tmp_path / "db"
    fill(folder)

    def delete_and_die() -> None:
        db = OurDB(folder, id_of=id_of)
        overwrite, done = db.files.overwrite, []

        def dies(number: int, position: int, data: bytes) -> None:
            if len(done) == erased:
                os._exit(9)
            done.append(position)
            overwrite(number, position, data)

        db.files.overwrite = dies  # type: ignore[method-assign]
        db.delete(2)

    assert in_child(delete_and_die) == 9
    with OurDB(folder, id_of=id_of) as db:
        with pytest.raises(NotFound):
            db.get(2)
        assert db.add(job) == 7
    assert b'"jobid":2,"text"' not in (folder / "0.db").read_bytes()


# power cut, and a lost table


def boots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_boot", b"another boot 123")


def crash(folder: Path, work: Callable[[OurDB], None], **arguments: object) -> None:
    """Write in a process that dies without closing."""

    def writes() -> None:
        work(OurDB(folder, **arguments))  # type: ignore[arg-type]
        os._exit(0)

    assert in_child(writes) == 0


def test_keys_survive_another_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "db"

    def work(db: OurDB) -> None:
        db.set(5, b"five")
        db.set(70, b"seventy")

    crash(folder, work, incremental=False, sync="always")
    boots(monkeypatch)
    with OurDB(folder, incremental=False) as db:
        assert db.get_many([5, 70]) == [b"five", b"seventy"]


def test_ids_without_a_name_survive_deletions_and_another_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "db"

    def work(db: OurDB) -> None:
        db.add_many([b"one", b"two", b"three"])
        db.delete(2)

    crash(folder, work, sync="always", dump=False)
    boots(monkeypatch)
    with OurDB(folder, dump=False) as db:
        assert db.get_many([1, 2, 3]) == [b"one", None, b"three"]
        assert db.next_id == 4


def test_ids_without_a_name_survive_a_lost_table(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    with OurDB(folder, dump=False) as db:
        db.add_many([b"one", b"two", b"three"])
        db.delete(2)
    shutil.rmtree(folder / "lookup")
    with OurDB(folder, dump=False) as db:
        assert db.get_many([1, 2, 3]) == [b"one", None, b"three"]
        assert db.next_id == 4


def test_an_adopted_record_keeps_its_id_through_a_repair(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    fill(folder)
    with OurDB(folder, id_of=id_of) as db:
        db.delete(3)
    new = b'{"jobid":0,"foreign":2}'
    with (folder / "0.db").open("ab") as file:
        file.write(pack_header(new, 0) + new)
    with OurDB(folder, id_of=id_of) as db:
        assert db.get(7) == new
        db.check(repair=True)
        assert db.get(7) == new
        assert db.doubtful == {7}


def test_readers_find_their_records_during_a_repair(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    fill(folder)
    with OurDB(folder, id_of=id_of) as reader, OurDB(folder, id_of=id_of) as other:
        seen = []

        def watching(data: bytes) -> int:
            seen.append(reader.get_many([1])[0])
            return id_of(data)

        other.id_of = watching
        other.check(repair=True)
        assert seen
        assert set(seen) == {job(1)}


def test_a_scan_ends_before_what_may_be_taken_back(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    with OurDB(folder, id_of=id_of, sync="always") as db, OurDB(folder, id_of=id_of) as reader:
        db.add(job)
        seen = []
        sync = db.files.sync

        def fails(number: int) -> None:
            db.files.sync = sync  # type: ignore[method-assign]
            seen.extend(reader.scan())
            raise OSError(errno.EIO, "no")

        db.files.sync = fails  # type: ignore[method-assign]
        with pytest.raises(OSError, match="no"):
            db.add(lambda id: job(id, "longer than those that follow"))
        ids = db.add_many([job] * 3)
        assert [version.id for version in reader.scan(after(seen[-1]))] == ids


class Waits:
    """Notes for how long locks of a database are held, by whoever holds them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = 0  # records read under the lock
        self.all = 0
        self._held = 0
        acquire, release = WriteLock.acquire, WriteLock.release

        def acquired(lock: WriteLock, timeout: float) -> None:
            acquire(lock, timeout)
            self._held += lock._path.name == "lock"  # not that of compactions

        def released(lock: WriteLock) -> None:
            self._held -= lock._path.name == "lock"
            release(lock)

        monkeypatch.setattr(WriteLock, "acquire", acquired)
        monkeypatch.setattr(WriteLock, "release", released)

    def id_of(self, data: bytes) -> int:
        self.all += 1
        self.read += bool(self._held)
        return id_of(data)


ACTIONS: dict[str, Callable[[OurDB], object]] = {
    "check": lambda db: db.check(),
    "repair": lambda db: db.check(repair=True),
    "compact": lambda db: db.compact(),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_writers_do_not_wait_while_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    folder = tmp_path / "db"
    with OurDB(folder, id_of=id_of, sync="never") as db:
        db.add_many([job] * 3_000)
    waits = Waits(monkeypatch)
    with OurDB(folder, id_of=waits.id_of, sync="never") as db:
        ACTIONS[action](db)
        assert waits.all >= 3_000
        assert waits.read == 0
        assert db.check().ok


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("seed", range(4))
def test_what_others_write_meanwhile_is_no_fault_and_not_lost(tmp_path: Path, seed: int, action: str) -> None:
    """What they write is put between every two records that it reads."""
    folder = tmp_path / "db"
    chance = random.Random(seed)
    with OurDB(folder, id_of=id_of, sync="never", file_size=3_000) as other:
        other.add_many([lambda id: job(id, "x" * chance.randrange(40)) for _ in range(60)])
        model = {id: [other.get(id)] for id in range(1, 61)}
        turns = 0
        last = 60

        def beside(data: bytes) -> int:
            nonlocal turns, last
            turns += 1
            what = chance.random()
            id = chance.choice(list(model))
            with contextlib.suppress(DatabaseLocked):  # while the action itself holds the lock
                if turns > 400 or what < 0.7:
                    pass
                elif what < 0.8:
                    last = other.add(job, lock_timeout=0)
                    model[last] = [job(last)]
                elif what < 0.92:
                    other.set(id, job(id, "y" * turns), lock_timeout=0)
                    model[id].insert(0, job(id, "y" * turns))
                elif len(model) > 5:
                    other.delete(id, lock_timeout=0)
                    del model[id]
            return id_of(data)

        with OurDB(folder, id_of=beside, sync="never", file_size=3_000) as db:
            for _ in range(2):
                turns = 0
                ACTIONS[action](db)
                turns = 500
                report = db.check()
                assert report.ok, report
                assert not report.orphan_count
                assert not report.uncertain
        for made_anew in (False, True):
            assert {id: [each.data for each in other.history(id)] for id in model} == model
            assert other.next_id == last + 1
            report = other.check(repair=not made_anew)
            assert (report.ids, report.uncertain) == (len(model), [])
    assert not (folder / "compact.new").exists()


def test_a_record_deleted_while_it_is_compacted_leaves_no_byte(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    with OurDB(folder, id_of=id_of) as other:
        other.add_many([lambda id: job(id, f"secret{id}") for _ in range(50)])
        other.set(7, job(7, "secret7 again"))

        def deletes(data: bytes) -> int:
            if id_of(data) == 40:
                with contextlib.suppress(NotFound):
                    other.delete(7)
            return id_of(data)

        with OurDB(folder, id_of=deletes) as db:
            db.compact()
        assert b"secret7" not in (folder / "0.db").read_bytes()
        assert other.check(repair=True).ok
        assert other.get_many([7, 8]) == [None, job(8, "secret8")]
        assert not other.doubtful


def test_two_compactions_at_a_time_take_turns(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    fill(folder)
    with OurDB(folder, id_of=id_of, lock_timeout=0.05) as other:
        told = []

        def at_once(data: bytes) -> int:
            if not told:
                with pytest.raises(DatabaseLocked):
                    other.compact()
                told.append(1)
            return id_of(data)

        with OurDB(folder, id_of=at_once) as db:
            db.compact()
        other.compact()
        assert told
        assert other.history(2)[0].data == job(2, "third")
