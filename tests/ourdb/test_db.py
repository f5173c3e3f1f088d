from __future__ import annotations

import shutil
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from herojobs.ourdb import (
    CHAINED,
    CorruptRecord,
    DatabaseClosed,
    DatabaseFull,
    DatabaseLocked,
    NotFound,
    OurDB,
    RecordTooLarge,
    after,
    key_size_for,
)
from ourdb.jobs import id_of, job
from ourdb.strict_reader import dump, versions


def test_ids_start_at_one_and_records_know_theirs(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db") as db:
        assert db.add_many([job, job, b"plain"]) == [1, 2, 3]
        assert db.get(2) == job(2)
        assert db.get_many([3, 1, 9]) == [b"plain", job(1), None]
        assert db.next_id == 4


def test_the_bytes_are_those_of_the_format(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db") as db:
        db.add(b"hi")
        db.set(1, b"ho")
    data = (tmp_path / "db" / "0.db").read_bytes()
    first = bytes.fromhex("0200 ac2a93d8 000000000000") + b"hi"
    second = b"\x02\x00" + zlib.crc32(b"ho").to_bytes(4, "little") + bytes.fromhex("000000000001") + b"ho"
    assert data == b"\0" + first + second


def test_a_batch_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def fails(id: int) -> bytes:
        raise RuntimeError("no")

    with OurDB(tmp_path / "db", max_record=100) as db:
        db.add(b"a")
        for bad, error in (
            ([job, fails], RuntimeError),
            ([b"x", b""], ValueError),
            ([b"x", b"y" * 101], RecordTooLarge),
        ):
            with pytest.raises(error):
                db.add_many(bad)  # type: ignore[arg-type]
        assert db.next_id == 2
        assert (tmp_path / "db" / "0.db").stat().st_size == 1 + 13


def test_a_version_is_accepted_only_after_the_one_it_follows(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db") as db:
        db.add(b"a")
        first = db.locate(1)
        second, refused, unknown = db.set_many([(1, b"b", first), (1, b"c", first), (7, b"d", None)])
        assert (refused, unknown) == (None, None)
        assert db.tip(1) == (second, b"b")
        third, fourth = db.set_many([(1, b"e", second), (1, b"f", CHAINED)])
        assert db.tip(1) == (fourth, b"f")
        assert db.set_many([(1, b"g", third), (1, b"h", CHAINED)]) == [None, None]
        assert [version.data for version in db.history(1)] == [b"f", b"e", b"b", b"a"]


@given(
    chosen=st.lists(st.tuples(st.integers(1, 12), st.booleans(), st.integers(1, 90)), min_size=1, max_size=20),
    file_size=st.sampled_from([60, 300, 100_000]),
)
@settings(max_examples=60, deadline=None)
def test_a_batch_of_versions_is_what_single_ones_would_be(
    tmp_path_factory: pytest.TempPathFactory, chosen: list[tuple[int, bool, int]], file_size: int
) -> None:
    folder = tmp_path_factory.mktemp("db")
    options: dict[str, Any] = {"file_size": file_size, "sync": "never", "dump": False}
    with OurDB(folder / "batch", **options) as batch, OurDB(folder / "singly", **options) as singly:
        for db in (batch, singly):
            db.add_many([b"first %d" % id for id in range(1, 10)])
        places = {id: singly.locate(id) for id in range(1, 10)}
        items = [
            (id, b"%d" % nth * length, places.get(id, 7) + (not fits)) for nth, (id, fits, length) in enumerate(chosen)
        ]
        assert batch.set_many(items) == [singly.set_many([item])[0] for item in items]
        for id in range(1, 10):
            assert batch.history(id) == singly.history(id)
        assert batch.check().ok
    for path in (folder / "singly").glob("*.db"):
        assert (folder / "batch" / path.name).read_bytes() == path.read_bytes()


def test_long_values_have_their_place_in_a_batch(tmp_path: Path) -> None:
    data = [b"a" * 65_535, b"b" * 65_536, b"c" * 200_000, b"d"]
    with OurDB(tmp_path / "db") as db:
        ids = db.add_many(data)
        db.set_many([(id, each[::-1] + b"!", None) for id, each in zip(ids, data, strict=True)])
        assert db.get_many(ids) == [each[::-1] + b"!" for each in data]
        assert [version.data for version in db.history(3)] == [data[2][::-1] + b"!", data[2]]


def test_versions_are_made_when_no_other_generation_can_begin(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db") as db, OurDB(tmp_path / "db") as other:
        db.add_many([b"a", b"b"])
        db.delete(1)
        before = db.generation
        other.compact()
        seen: list[int] = []

        def make(generation: int) -> list[tuple[int, bytes, int | None]]:
            seen.append(generation)
            with pytest.raises(DatabaseLocked):
                other.add(b"x", lock_timeout=0)
            return [(2, b"c", db.locate(2))]

        generation, (location,) = db.set_made(make)
        assert seen == [generation]
        assert generation > before
        assert (location, b"c") == db.tip(2)


def test_deleting_leaves_no_byte_of_any_version(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db", id_of=id_of) as db:
        db.add(lambda id: job(id, "secret one"))
        db.set(1, job(1, "secret two"))
        db.add(job)
        db.delete(1)
        with pytest.raises(NotFound):
            db.get(1)
        with pytest.raises(NotFound):
            db.delete(1)
        assert db.set_many([(1, b"x", None)]) == [None]
        assert db.add(job) == 3
    assert b"secret" not in (tmp_path / "db" / "0.db").read_bytes()
    shutil.rmtree(tmp_path / "db" / "lookup")
    with OurDB(tmp_path / "db", id_of=id_of) as db:
        assert db.get_many([1, 2, 3]) == [None, job(2), job(3)]
        assert db.next_id == 4
        assert not db.doubtful


def test_a_free_id_can_be_taken_beyond_the_next(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db") as db:
        db.add(b"a")
        db.put_at(10, b"b")
        assert db.next_id == 11
        assert db.get_many([5, 10]) == [None, b"b"]
        with pytest.raises(ValueError, match="used already"):
            db.put_at(5, b"c")


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 131_072, 300_000])
def test_values_that_the_originals_lose_are_read(tmp_path: Path, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    with OurDB(tmp_path / "db") as db:
        db.add(data[:size])
        db.add(b"after")
        assert db.get(1) == data[:size]
        assert [version.data for version in db.scan()] == [data[:size], b"after"]


def test_files_roll_over_and_history_crosses_them(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db", file_size=100) as db:
        db.add(b"0" * 40)
        for n in range(1, 9):
            db.set(1, b"%d" % n * 40)
        assert [version.data[:1] for version in db.history(1)] == [b"%d" % n for n in range(8, -1, -1)]
    assert (tmp_path / "db" / "2.db").exists()
    for path in (tmp_path / "db").glob("*.db"):
        if path.is_file():
            assert path.stat().st_size <= 100 + 52
    with OurDB(tmp_path / "db", file_size=100) as db:  # the originals begin at 0.db again, and truncate 1.db
        db.add(b"new")
        assert db.get(1) == b"8" * 40


@pytest.mark.parametrize(("key_size", "full_at"), [(2, 65_536), (3, 16_777_216)])
def test_a_place_that_a_small_key_cannot_name_is_refused_before_writing(
    tmp_path: Path, key_size: int, full_at: int
) -> None:
    with OurDB(tmp_path / "db", key_size=key_size, record_nr_max=100, max_record=20_000_000) as db:
        db.add(b"x" * (full_at - 14))
        db.add(b"y")
        with pytest.raises(DatabaseFull):
            db.add(b"z")
        assert db.get(2) == b"y"


@pytest.mark.parametrize(
    ("record_size", "records", "size"),
    [
        (4096, 16_777_215, 6),
        (2, 10, 2),
        (300, 65_535, 2),
        (306, 65_535, 6),
        (20, 1_000_000, 3),
        (1, 16_777_216, 4),
        (4096, 1_048_576, 3),
    ],
)
def test_key_sizes_follow_the_originals_rule(record_size: int, records: int, size: int) -> None:
    assert key_size_for(records, record_size) == size


def test_ids_end_at_the_table(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db", record_nr_max=4) as db:
        db.add_many([b"a", b"b", b"c"])
        with pytest.raises(DatabaseFull):
            db.add(b"d")
        with pytest.raises(NotFound):
            db.get(4)


def test_a_flipped_bit_is_never_a_value(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db") as db:
        db.add_many([b"first", b"second", b"third"])
        location = db.locate(2)
    path = tmp_path / "db" / "0.db"
    whole = path.read_bytes()
    for bit in range(12 * 8):
        broken = bytearray(whole)
        broken[location + bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        with OurDB(tmp_path / "db") as db:
            assert db.get_many([1, 3]) == [b"first", b"third"]
            if bit >= 48:  # the previous location isn't covered by the CRC
                assert db.get(2) == b"second"
                continue
            with pytest.raises(CorruptRecord) as caught:
                db.get(2)
            assert (caught.value.id, caught.value.file, caught.value.position) == (2, 0, location)
            assert not db.check().ok


def test_a_damaged_chain_does_not_lead_into_another_record(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db", id_of=id_of) as db:
        db.add_many([job, job])
        db.set(2, job(2, "new"))
        other, location = db.locate(1), db.locate(2)
    path = tmp_path / "db" / "0.db"
    data = bytearray(path.read_bytes())
    data[location + 8 : location + 12] = other.to_bytes(4, "big")
    path.write_bytes(data)
    with OurDB(tmp_path / "db", id_of=id_of) as db:
        assert [version.data for version in db.history(2)] == [job(2, "new")]
        db.delete(2)
        assert db.get(1) == job(1)


def test_one_writer_at_a_time_and_a_try_does_not_wait(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db") as one, OurDB(tmp_path / "db") as other:
        held, done = threading.Event(), threading.Event()

        def hold(id: int) -> bytes:
            held.set()
            done.wait()
            return b"held"

        thread = threading.Thread(target=one.add, args=(hold,))
        thread.start()
        held.wait()
        with pytest.raises(DatabaseLocked):
            other.add(b"x", lock_timeout=0)
        done.set()
        thread.join()
        assert other.add(b"y") == 2
        assert one.get_many([1, 2]) == [b"held", b"y"]


def test_threads_write_together(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db", sync="always") as db:
        ids: list[int] = []
        threads = [threading.Thread(target=lambda: ids.extend(db.add(job) for _ in range(25))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(ids) == list(range(1, 201))
        assert db.get_many(ids) == [job(id) for id in ids]


def test_a_scan_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db", id_of=id_of) as db:
        db.add_many([job, job])
        seen = list(db.scan())
        assert [version.id for version in seen] == [1, 2]
        db.set(1, job(1, "new"))
        db.delete(2)
        more = list(db.scan(after(seen[-1])))
        assert [(version.id, version.deleted) for version in more] == [(1, False), (2, True)]


def test_closed_is_closed(tmp_path: Path) -> None:
    db = OurDB(tmp_path / "db")
    db.close()
    db.close()
    with pytest.raises(DatabaseClosed):
        db.add(b"x")
    with pytest.raises(DatabaseClosed):
        db.get(1)


@pytest.mark.parametrize("wrong", [{"key_size": 5}, {"file_size": 0}, {"record_nr_max": 0}, {"sync": "often"}])
def test_wrong_arguments_are_told(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="use"):
        OurDB(tmp_path / "db", **wrong)
    assert not (tmp_path / "db").exists()


def test_the_dump_is_what_the_original_imports(tmp_path: Path) -> None:
    with OurDB(tmp_path / "db", id_of=id_of) as db:
        db.add_many([job] * 5)
        db.set(2, job(2, "new"))
        db.delete(3)
    entries, next_id = dump(tmp_path / "db")
    assert next_id == 6
    assert entries[3] == (0, 0)
    assert versions(tmp_path / "db", entries[2]) == [job(2, "new"), job(2)]


@pytest.mark.parametrize("form", ["folder", "file", "file with counter"])
def test_every_generation_of_dump_gives_the_ids_back(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "db"
    with OurDB(folder, incremental=False) as db:
        db.set_many([(5, b"five", None), (0, b"zero", None)])
    data = (folder / "lookup_dump.db" / "data").read_bytes()
    shutil.rmtree(folder / "lookup")
    if form != "folder":
        shutil.rmtree(folder / "lookup_dump.db")
        (folder / "lookup_dump.db").write_bytes(data)
        if form == "file with counter":
            (folder / "lookup_dump.db.inc").write_text("7")
    with OurDB(folder, incremental=False) as db:
        assert db.get_many([0, 5]) == [b"zero", b"five"]


class Model(RuleBasedStateMachine):
    """A database against a dictionary of lists, through every mode, key size, roll-over, reopening and compaction."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[int, list[bytes]] = {}
        self.next_id = 1

    @initialize(
        key_size=st.sampled_from([2, 3, 4, 6]), incremental=st.booleans(), tiny=st.booleans(), folder=st.uuids()
    )
    def open(self, key_size: int, incremental: bool, tiny: bool, folder: object) -> None:
        import tempfile

        self.folder = Path(tempfile.mkdtemp(prefix="ourdb")) / str(folder)
        self.incremental = incremental
        file_size = 60 if tiny and key_size == 6 else 1_000_000
        self.arguments: dict[str, Any] = {
            "key_size": key_size,
            "incremental": incremental,
            "record_nr_max": 50,
            "file_size": file_size,
            "sync": "never",
        }
        self.db = OurDB(self.folder, **self.arguments)

    @precondition(lambda self: self.incremental and self.next_id < 45)
    @rule(data=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=3))
    def add(self, data: list[bytes]) -> None:
        ids = self.db.add_many(data)
        assert ids == list(range(self.next_id, self.next_id + len(data)))
        self.next_id += len(data)
        self.kept.update({id: [each] for id, each in zip(ids, data, strict=True)})

    @rule(id=st.integers(0, 49), data=st.binary(min_size=1, max_size=40))
    def set(self, id: int, data: bytes) -> None:
        if self.incremental and id not in self.kept:
            with pytest.raises(NotFound):
                self.db.set(id, data)
            return
        self.db.set(id, data)
        self.kept.setdefault(id, []).append(data)

    @rule(id=st.integers(0, 49))
    def delete(self, id: int) -> None:
        if id not in self.kept:
            with pytest.raises(NotFound):
                self.db.delete(id)
            return
        self.db.delete(id)
        del self.kept[id]

    @rule()
    def reopen(self) -> None:
        self.db.close()
        self.db = OurDB(self.folder, **self.arguments)

    @rule()
    def compact(self) -> None:
        self.db.compact()

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "db"):
            return
        for id in range(50):
            if id in self.kept:
                assert self.db.get(id) == self.kept[id][-1]
                assert [version.data for version in self.db.history(id)] == self.kept[id][::-1]
            else:
                assert self.db.get_many([id]) == [None]

    def teardown(self) -> None:
        if hasattr(self, "db"):
            assert self.db.check().ok
            self.db.close()
            shutil.rmtree(self.folder.parent)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
