"""OurDB: an embedded, append-only database that keeps every version of every record.

Compatible with the original's files in both directions (docs/ourdb.md). It knows nothing of jobs.
"""

from herojobs.ourdb.conditions import CHAINED
from herojobs.ourdb.db import OurDB, SyncPolicy, after
from herojobs.ourdb.errors import (
    CorruptRecord,
    DatabaseClosed,
    DatabaseFull,
    DatabaseLocked,
    DiskFull,
    ForeignTruncation,
    NotFound,
    OurDBError,
    RecordTooLarge,
)
from herojobs.ourdb.format import key_size_for
from herojobs.ourdb.reading import Version

__all__ = [
    "CHAINED",
    "CorruptRecord",
    "DatabaseClosed",
    "DatabaseFull",
    "DatabaseLocked",
    "DiskFull",
    "ForeignTruncation",
    "NotFound",
    "OurDB",
    "OurDBError",
    "RecordTooLarge",
    "SyncPolicy",
    "Version",
    "after",
    "key_size_for",
]
