"""Every error of a database.

OurDBError
├── NotFound           no record has this id
├── CorruptRecord      a record is there, and isn't what was written
├── RecordTooLarge     a record is over the limit
├── DatabaseFull       no id, or no file number, is left
├── DatabaseLocked     another process holds the lock
├── ForeignTruncation  another program cut a data file: read-only until repaired
├── DiskFull           the disk is full: nothing was written
└── DatabaseClosed     it was closed
"""

from __future__ import annotations


class OurDBError(Exception):
    """Base of all errors below."""


class NotFound(OurDBError):
    """No record has this id: it never had one, or was deleted."""

    def __init__(self, id: int) -> None:
        self.id = id
        super().__init__(f"there is no record {id}")


class CorruptRecord(OurDBError):
    """A record's bytes aren't what was written.

    Attributes:
        id: its id.
        file: number of the data file.
        position: where its header starts.
        why: what is wrong.
    """

    def __init__(self, id: int, file: int, position: int, why: str) -> None:
        self.id = id
        self.file = file
        self.position = position
        self.why = why
        super().__init__(f"record {id} at {file}.db:{position} is damaged: {why}")


class RecordTooLarge(OurDBError):
    """A record is over the limit `max_record`; nothing of its batch was written."""

    def __init__(self, size: int, limit: int) -> None:
        self.size = size
        self.limit = limit
        super().__init__(f"a record of {size:,} bytes; the limit is {limit:,}")


class DatabaseFull(OurDBError):
    """No id is left below `record_nr_max`, or no place that the key size can name."""


class DatabaseLocked(OurDBError):
    """Another process held the lock for longer than `lock_timeout`; nothing was written."""


class ForeignTruncation(OurDBError):
    """Another program cut a data file; the database is read-only until `check(repair=True)`."""


class DiskFull(OurDBError):
    """The disk is full, or a limit on file sizes was met; nothing of the batch was written."""


class DatabaseClosed(OurDBError):
    """The database was closed."""
