"""Faults one by one: full disks, other programs, deletions cut short, readers beside a compaction, power cuts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from herojobs.ourdb import (
    CorruptRecord,
    DatabaseLocked,
    DiskFull,
    ForeignTruncation,
    NotFound,
    OurDB,
    OurDBError,
    state,
)
from herojobs.ourdb.format import pack_header
from ourdb.jobs import fill, id_of, job
from ourdb.strict_reader import dump, versions


def append(path: Path, data: bytes, previous: int) -> None:
    """Append a record as another program does."""
    with path.open("ab") as file:
        file.write(pack_header(data, previous) + data)


def boot(monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    monkeypatch.setattr(state, "_boot", b"boot %11d" % nth)


# other programs


def test_what_is_appended_to_a_finished_file_is_taken_in(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    with OurDB(folder, id_of=id_of, file_size=100) as db:
        db.add_many([job] * 9)
        tip = db.locate(3)
    append(folder / "0.db", job(3, "foreign"), tip)  # the originals, reopened, begin at 0.db again
    for _ in range(2):
        with OurDB(folder, id_of=id_of, file_size=100) as db:
            assert [version.data for version in db.history(3)] == [job(3, "foreign"), job(3)]
            assert not db.doubtful
            assert db.check().ok


@pytest.mark.parametrize("remove", [False, True])
def test_a_finished_file_that_was_cut_is_noticed_and_can_be_repaired(tmp_path: Path, remove: bool) -> None:
    folder = tmp_path / "db"
    with OurDB(folder, id_of=id_of, file_size=100) as db:
        db.add_many([job] * 9)
        lost = [id for id in range(1, 10) if db.locate(id) >> 32 == 1]
    if remove:
        (folder / "1.db").unlink()
    else:
        os.truncate(folder / "1.db", 1)
    with OurDB(folder, id_of=id_of, file_size=100) as db:
        with pytest.raises(ForeignTruncation):
            db.add(job)
        with pytest.raises(ForeignTruncation):
            db.compact()
        assert not db.check().ok
        for id in range(1, 10):
            if id in lost:
                with pytest.raises(CorruptRecord):
                    db.get(id)
            else:
                assert db.get(id) == job(id)
        assert db.check(repair=True).ok
        assert db.add(job) == 10
        assert db.get_many(lost) == [None] * len(lost)


def test_a_cut_file_is_remembered_even_when_it_grows_again(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    starts = fill(folder)
    os.truncate(folder / "0.db", starts[-1])
    OurDB(folder, id_of=id_of).close()
    for _ in range(9):
        append(folder / "0.db", b"not ours", 0)
    with OurDB(folder, id_of=id_of) as db, pytest.raises(ForeignTruncation):
        db.add(job)


def test_an_id_that_another_program_began_anew_is_told_and_marked(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    fill(folder)
    append(folder / "0.db", job(1, "not the one you know"), 0)
    events: list[str] = []
    with OurDB(folder, id_of=id_of, on_event=events.append) as db:
        assert db.get(1) == job(1, "not the one you know")
        assert db.foreign_ids == {1}
        assert any("began these ids anew" in event for event in events)
        db.confirm([1])
        assert not db.doubtful


def test_uncertain_ids_stay_so_until_confirmed(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    starts = fill(folder)
    with (folder / "0.db").open("r+b") as file:
        file.seek(starts[-1])
        file.write(bytes(12 + len(job(2, "third"))))
    shutil.rmtree(folder / "lookup")
    with OurDB(folder, id_of=id_of) as db:
        assert db.uncertain_ids == {1, 2, 3, 4, 5, 6}
        db.compact()
        assert db.uncertain_ids == {1, 2, 3, 4, 5, 6}
        db.confirm({2, 3})
        assert db.uncertain_ids == {1, 4, 5, 6}
        db.confirm()
        assert not db.doubtful


def test_a_strict_reader_reads_every_file_and_version(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    kept: dict[int, list[bytes]] = {}
    with OurDB(folder, file_size=300) as db:
        for n in range(60):
            if n % 3 == 0:
                data = bytes([n]) * (1 + n * 37 % 90)
                kept[db.add(data)] = [data]
            else:
                id = 1 + n * 7 % len(kept)
                kept[id].insert(0, b"%d" % n * (1 + n % 5))
                db.set(id, kept[id][0])
        db.delete(4)
        del kept[4]
    entries, next_id = dump(folder)
    assert next_id == 21
    assert entries.pop(4) == (0, 0)
    assert {id: versions(folder, entry) for id, entry in entries.items()} == kept


# damage


def test_a_compaction_never_passes_an_older_version_for_the_newest(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    starts = fill(folder)
    path = folder / "0.db"
    whole = path.read_bytes()
    path.write_bytes(whole[: starts[-1] + 14] + b"????" + whole[starts[-1] + 18 :])
    with OurDB(folder, id_of=id_of) as db:
        with pytest.raises(CorruptRecord, match="repair"):
            db.compact()
        with pytest.raises(CorruptRecord):
            db.get(2)
        assert db.get(6) == job(6)
    assert not (folder / "compact").exists()
    path.write_bytes(whole[: starts[-2] + 14] + b"????" + whole[starts[-2] + 18 :])
    with OurDB(folder, id_of=id_of) as db:
        assert [version.ok for version in db.history(2)] == [True, False, True]
        db.compact()
        assert [version.data for version in db.history(2)] == [job(2, "third"), job(2)]
        assert db.check().ok


def test_a_record_that_the_file_ends_in_falls_back_and_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    starts = fill(folder)
    os.truncate(folder / "0.db", starts[-1] + 20)
    events: list[str] = []
    with OurDB(folder, id_of=id_of, on_event=events.append) as db:
        assert db.tip(2) == (starts[-2], job(2, "second"))
        assert "record 2" in events[-1]


def test_a_check_tells_entries_that_lead_to_others_and_records_without_an_id(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    fill(folder)
    with OurDB(folder, id_of=id_of) as db:
        db.table.put_many({3: db.locate(4), 5: 0})
        report = db.check()
        assert {fault.id for fault in report.faults} == {3, 4}
        assert report.orphan_count == 2  # what 3 and 5 had
        assert (report.ok, report.fault_count) == (False, 2)
        assert db.check(repair=True).ok
        assert db.get_many([3, 4, 5]) == [job(3), job(4), job(5)]


def test_damage_between_records_costs_no_other_record(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    with OurDB(folder, id_of=id_of) as db:
        db.add_many([job] * 30)
        place = db.locate(15)
    whole = (folder / "0.db").read_bytes()
    for junk in (b"\xff" * 40, bytes(40), bytes(11), b"\0\0\1" * 9, whole[place : place + 20]):
        shutil.rmtree(folder / "lookup")
        (folder / "0.db").write_bytes(whole[:place] + junk + whole[place:])
        with OurDB(folder, id_of=id_of) as db:
            # what lies behind is moved, so that only first versions, which point nowhere, can be looked for
            assert db.get_many(range(1, 31)) == [job(id) for id in range(1, 31)]


def test_values_that_begin_with_zeros_survive_erased_neighbours(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    data = b'{"jobid":%d}'.ljust(256)  # the size's low byte is zero
    with OurDB(folder, id_of=id_of) as db:
        db.add_many([lambda id: (data % id)[:256].ljust(256)] * 9)
        for id in (1, 3, 4, 8):
            db.delete(id)
    shutil.rmtree(folder / "lookup")
    with OurDB(folder, id_of=id_of) as db:
        assert [id for id in range(1, 10) if db.get_many([id]) != [None]] == [2, 5, 6, 7, 9]
        assert db.next_id == 10
        assert not db.doubtful


# deleting


def test_in_key_value_mode_zero_is_an_id_like_any_other(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    with OurDB(folder, incremental=False) as db:
        db.set(0, b"x")
        db.set(1, b"y")
        before = db.state_file.read()
        assert before is not None
        db.delete(0)
        db.state_file.write(before)  # as if the process had died just before the end
    with OurDB(folder, incremental=False) as db:
        assert db.get_many([0, 1]) == [None, b"y"]
        db.put_at(0, b"again")
        assert [version.data for version in db.history(0)] == [b"again"]
        with pytest.raises(ValueError, match="used"):
            db.put_at(1, b"z")


def test_versions_of_one_batch_are_erased_too(tmp_path: Path) -> None:
    """A group commit that holds new versions and then the deletion of the same record."""
    folder = tmp_path / "db"
    with OurDB(folder, id_of=id_of) as db:
        db.add(lambda id: job(id, "secret 1"))
        inside, go = threading.Event(), threading.Event()

        def slow(id: int) -> bytes:
            inside.set()
            go.wait()
            return job(id)

        def queued(count: int) -> None:
            while len(db._writer._requests) < count:
                pass

        steps = [
            lambda: db.set(1, job(1, "secret 2")),
            lambda: db.set(1, job(1, "secret 3")),
            lambda: db.delete(1),
        ]
        threads = [threading.Thread(target=db.add, args=(slow,))]
        threads[0].start()
        inside.wait()
        for count, step in enumerate(steps, 1):
            threads.append(threading.Thread(target=step))
            threads[-1].start()
            queued(count)
        go.set()
        for thread in threads:
            thread.join()
        assert db.get_many([1, 2]) == [None, job(2)]
    assert b"secret" not in (folder / "0.db").read_bytes()
    shutil.rmtree(folder / "lookup")
    with OurDB(folder, id_of=id_of) as db:
        assert db.get_many([1, 2]) == [None, job(2)]
        assert not db.doubtful


# writing


def test_a_record_maker_must_not_write(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db") as db:
        with pytest.raises(OurDBError, match="must not write"):
            db.add(lambda id: b"%d" % (id + db.add(b"inner")))
        assert db.add(b"outer") == 1
        assert db.check().ok


def test_who_waits_too_long_has_written_nothing(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db") as db:
        inside, go = threading.Event(), threading.Event()

        def slow(id: int) -> bytes:
            inside.set()
            go.wait()
            return b"slow"

        thread = threading.Thread(target=db.add, args=(slow,))
        thread.start()
        inside.wait()
        with pytest.raises(DatabaseLocked):
            db.add(b"fast", lock_timeout=0.01)
        go.set()
        thread.join()
        assert db.next_id == 2


def refusing(function: Callable[..., object], nth: int) -> Callable[..., object]:
    """Return a function that does the same, except that its nth call fails for want of room."""
    calls = iter(range(1, 1000))

    def call(*args: object) -> object:
        if next(calls) == nth:
            raise OSError(28, "No space left on device")
        return function(*args)

    return call


@pytest.mark.parametrize("call", ["fsync", "fdatasync", "pwrite"])
def test_a_disk_that_refuses_at_any_call_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    folder = tmp_path / "db"
    for step in range(1, 9):
        with OurDB(folder, id_of=id_of, file_size=100, sync="always", dump=False) as db:
            next_id = db.next_id
            real = getattr(os, call)
            monkeypatch.setattr(os, call, refusing(real, step))
            try:
                db.add_many([job] * 4)
                failed = False
            except (DiskFull, OSError):
                failed = True
            monkeypatch.setattr(os, call, real)
            assert db.next_id == next_id + (0 if failed else 4)
            first = db.add(job)
            assert first == next_id + (0 if failed else 4)
            assert db.get_many(range(1, first + 1)) == [job(id) for id in range(1, first + 1)]
            assert db.check().ok
            if not failed:
                return
    pytest.fail("it never came to an end")


def test_a_full_file_system_changes_nothing(tmp_path: Path) -> None:
    """On a file system of its own where mounting is allowed, so that every write can meet its end."""
    script = """
import os, sys
from herojobs.ourdb import DiskFull, OurDB
from ourdb.jobs import id_of, job
folder = sys.argv[1]
with OurDB(folder + "/db", id_of=id_of, file_size=20_000) as db:
    count = 0
    try:
        while True:
            count = db.add(lambda id: job(id, "x" * 700))
    except DiskFull as e:
        assert "nothing was written" in str(e), e
    try:
        db.compact()
    except DiskFull as e:
        assert "nothing was changed" in str(e), e
    assert db.next_id == count + 1
with OurDB(folder + "/db", id_of=id_of, file_size=20_000) as db:
    assert db.next_id == count + 1 > 100
    assert db.check().ok
    assert all(db.get(id) == job(id, "x" * 700) for id in range(1, count + 1))
print("done")
"""
    folder = tmp_path / "small"
    folder.mkdir()
    command = f'mount -t tmpfs -o size=400k none {folder} && exec $0 -c "$1" {folder}'
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*unshare, f"mount -t tmpfs none {folder}"], capture_output=True, check=False).returncode:
        pytest.skip("mounting isn't allowed here; the limit on file sizes is tested elsewhere")
    done = subprocess.run(
        [*unshare, command, sys.executable, script],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "done\n", done.stderr


def test_readers_beside_compactions_see_every_record(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db", id_of=id_of, file_size=5_000) as db, OurDB(tmp_path / "db", id_of=id_of) as other:
        db.add_many([job] * 600)
        wrong: list[object] = []
        stop = threading.Event()

        def look() -> None:
            while not stop.is_set():
                for id in range(1, 600, 7):
                    try:
                        if db.get(id) != job(id) or db.history(id)[-1].data != job(id):
                            wrong.append(id)
                    except Exception as e:
                        wrong.append(e)

        threads = [threading.Thread(target=look) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            for id in range(1, 600, 21):
                other.set(id, job(id))
            other.compact(keep=1)
        stop.set()
        for thread in threads:
            thread.join()
        assert not wrong


def test_a_scan_goes_on_through_a_compaction(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db", id_of=id_of, file_size=100) as db:
        db.add_many([job] * 20)
        scan = db.scan()
        seen = [next(scan).id]
        db.delete(20)
        db.compact()
        seen += [version.id for version in scan if not version.deleted]
        assert set(seen) >= set(range(1, 20))


# another boot


def test_after_a_power_cut_only_what_came_since_the_checkpoint_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from herojobs.ourdb import checkpoint, recovery

    boot(monkeypatch, 1)
    folder = tmp_path / "db"
    db = OurDB(folder, id_of=id_of, file_size=1000)
    db.add_many([job] * 100)
    checkpoint.write(db)
    for id in range(40, 60):
        db.set(id, job(id, "later"))
    db.delete(60)
    db.add(job)
    boot(monkeypatch, 2)  # the machine went down; everything had come to the disk
    monkeypatch.setattr(recovery, "rebuild", lambda db: pytest.fail("made anew"))
    with OurDB(folder, id_of=id_of, file_size=1000) as fresh:
        assert fresh.get_many([39, 40, 59, 60, 101]) == [job(39), job(40, "later"), job(59, "later"), None, job(101)]
        assert fresh.add(job) == 102
        assert fresh.check().ok
    db.close()


@pytest.mark.parametrize("lost", range(0, 200, 13))
def test_after_a_power_cut_no_entry_leads_to_what_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    from herojobs.ourdb import checkpoint

    boot(monkeypatch, 1)
    folder = tmp_path / "db"
    db = OurDB(folder, id_of=id_of)
    db.add_many([job] * 5)
    checkpoint.write(db)
    for text in ("a", "b"):
        db.set(2, job(2, text))
        db.add(job)
    with (folder / "0.db").open("r+b") as file:  # the table came to the disk, the end of the data didn't
        file.truncate(os.fstat(file.fileno()).st_size - lost % 90)
    boot(monkeypatch, 3)
    with OurDB(folder, id_of=id_of) as fresh:
        assert fresh.get_many([1, 3, 4, 5]) == [job(id) for id in (1, 3, 4, 5)]
        assert fresh.get(2) in (job(2), job(2, "a"), job(2, "b"))
        assert fresh.check().ok
        assert fresh.get(fresh.add(job)) == job(fresh.next_id - 1)
    db.close()


# opening


def test_a_table_of_another_key_size_is_refused(tmp_path: Path) -> None:
    OurDB(tmp_path / "db").close()
    with pytest.raises(OurDBError, match="6 bytes"):
        OurDB(tmp_path / "db", key_size=4)


def test_a_smaller_limit_hides_ids_and_loses_none(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    fill(folder)
    with OurDB(folder, id_of=id_of, record_nr_max=5) as db, pytest.raises(NotFound):
        db.get(6)
    with OurDB(folder, id_of=id_of) as db:
        assert db.get(6) == job(6)


def test_closing_a_big_database_that_hardly_changed_writes_no_dump(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    data = folder / "lookup_dump.db" / "data"
    with OurDB(folder, id_of=id_of) as db:
        db.add_many([job] * 5_000)
    assert data.stat().st_size == 50_000
    stamp = data.stat().st_ino
    with OurDB(folder, id_of=id_of) as db:
        db.add(job)
    assert data.stat().st_ino == stamp
    with OurDB(folder, id_of=id_of) as db:
        db.add_many([lambda id: job(id, "x" * 50_000)])
    assert data.stat().st_ino != stamp
    assert len(dump(folder)[0]) == 5_002


@pytest.mark.parametrize(("form", "next_id"), [("folder", 4), ("file", 4), ("file with counter", 8)])
def test_a_dump_tells_ids_and_the_next_one(tmp_path: Path, form: str, next_id: int) -> None:
    folder = tmp_path / "db"
    with OurDB(folder) as db:
        db.add_many([b"one", b"two", b"three"])
        db.set(2, b"two again")
    data = (folder / "lookup_dump.db" / "data").read_bytes()
    append(folder / "0.db", b"newer", int.from_bytes(data[4:10], "big"))
    shutil.rmtree(folder / "lookup")
    if form != "folder":
        shutil.rmtree(folder / "lookup_dump.db")
        (folder / "lookup_dump.db").write_bytes(data)
        if form == "file with counter":
            (folder / "lookup_dump.db.inc").write_text("7")  # the last id used
    with OurDB(folder) as db:
        assert db.get_many([1, 2, 3]) == [b"newer", b"two again", b"three"]
        assert db.add(b"four") == next_id
    assert dump(folder)[1] == next_id + 1


def test_a_compaction_is_due_when_deletions_have_left_most_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from herojobs.ourdb import compact

    monkeypatch.setattr(compact, "MIN_GARBAGE", 1_000)
    folder = tmp_path / "db"
    with OurDB(folder, id_of=id_of) as db:
        db.add_many([lambda id: job(id, "x" * 100)] * 40)
        db.set(1, job(1, "again"))
        assert db.delete_many([2, 2, 99, 0, 3]) == [2, 3]
        assert not db.compact_if_due()
        assert db.delete_many(range(2, 20)) == list(range(4, 20))
        assert not db.compact_if_due()
        db.delete_many(range(20, 30))
        assert compact.is_due(folder)
    with OurDB(folder, id_of=id_of) as db:
        assert db.compact_if_due()
        assert not compact.is_due(folder)
        assert not db.compact_if_due()
        assert [id for id in range(1, 41) if db.get_many([id])[0]] == [1, *range(30, 41)]
        assert len(db.history(1)) == 2
        assert (folder / "0.db").stat().st_size < 1_800


def test_bytes_between_records_are_told_apart_from_lost_versions(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    starts = fill(folder)
    with (folder / "0.db").open("r+b") as file:
        file.seek(starts[-1] + 14)
        file.write(b"????")  # the third version of job 2
    with OurDB(folder, id_of=id_of) as db:
        report = db.check()
        assert (report.fault_count, report.gap_count) == (1, 0)
        report = db.check(repair=True)
        assert (report.fault_count, report.gap_count) == (1, 1)
        assert db.get(2) == job(2, "second")
        db.compact()
        assert db.check().ok
