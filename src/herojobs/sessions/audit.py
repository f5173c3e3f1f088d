"""The audit log: who changed what, when, and how it went. Never parameters, never secrets.

It is an OurDB database in the home folder, `var/audit`, one record an entry, shared by all processes of the home. Notes
are taken without waiting: a thread appends what has collected a few times a second, in one commit.
"""

from __future__ import annotations

import getpass
import logging
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from herojobs.job import now_ms
from herojobs.names import queue_name_fix
from herojobs.ourdb import OurDB, OurDBError
from herojobs.sessions.session import Session
from herojobs.settings import Settings

log = logging.getLogger("herojobs.sessions")

COLLECT = 0.1
"""Seconds that notes collect before they are written; what a kill -9 can lose."""
MOST_HELD = 100_000
"""Notes that are held while the disk refuses them; the oldest are dropped first, and their number is noted."""
BATCH = 2_000
MAX_ENTRIES = 100_000_000
"""Ids of the database; its table is sparse."""
CLOCK_SLACK = 60_000
"""Milliseconds by which entries may stand out of order: processes note at the same time, clocks are set."""
MAX_TEXT = 300

OK = "ok"
COMMAND = "command"
"""Stands for the session of who uses the command in the home itself; the entry's name is the user's."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call that changed something, or was to.

    Attributes:
        at: unix milliseconds.
        session: the id of who called.
        name: the name that the session had.
        method: what was called, `job.cancel`, say.
        circle: the circle that it concerned, empty if none.
        ref: the job; or the session, or the service.
        count: how many jobs, whose ids follow that of `ref`.
        outcome: `ok`, or the error's code and what it means.
    """

    at: int
    session: str
    name: str
    method: str
    circle: str = ""
    ref: str = ""
    count: int = 1
    outcome: str = OK


class Audit:
    """The audit log of a home. Safe for threads and processes.

    Args:
        settings: where the home is, and how it is synced.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._path = audit_folder(settings)
        self._held: deque[Entry] = deque()
        self._dropped = 0
        self._db: OurDB | None = None
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._due = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def note(
        self,
        session: Session | None,
        method: str,
        *,
        circle: str = "",
        ref: str = "",
        count: int = 1,
        outcome: str = OK,
    ) -> None:
        """Note a call; returns at once.

        Args:
            session: who called; None = the user of this machine, by the command.
            method: what was called.
            circle: the circle that it concerned, if one.
            ref: what it concerned, if one thing.
            count: how many jobs, whose ids follow that of `ref`.
            outcome: `ok`, or the error's code and what it means; nothing of the call's content.
        """
        id, name = (session.id, session.name) if session is not None else (COMMAND, _user())
        entry = Entry(now_ms(), id, name, method, circle[:MAX_TEXT], ref[:MAX_TEXT], count, outcome[:MAX_TEXT])
        if len(self._held) >= MOST_HELD:
            self._held.popleft()
            self._dropped += 1
        self._held.append(entry)
        if self._thread is None:
            self._start()
        self._due.set()

    def flush(self) -> None:
        """Write what has collected.

        Raises:
            OurDBError, OSError: it can't be written; it is kept for the next time.
        """
        with self._writing:
            while self._held:
                if self._dropped:
                    lost = Entry(now_ms(), "", "", "audit.lost", count=self._dropped, outcome="the disk refused them")
                    self._open().add(msgspec.json.encode(lost))
                    self._dropped = 0
                batch = [self._held[place] for place in range(min(BATCH, len(self._held)))]
                self._open().add_many([msgspec.json.encode(entry) for entry in merged(batch)])
                for entry in batch:
                    if self._held and self._held[0] is entry:  # not dropped meanwhile
                        self._held.popleft()

    def read(self, *, since_ms: int = 0, circle: str | None = None, session: str | None = None) -> Iterator[Entry]:
        """Yield entries, the newest first.

        Args:
            since_ms: unix milliseconds of the oldest.
            circle: those about this circle.
            session: those of this session, by its id or name.

        Raises:
            OurDBError: the log is damaged.
        """
        if not self._path.is_dir():
            return
        wanted = None if circle is None else queue_name_fix(circle)
        db = self._open()
        last = db.next_id - 1
        while last > 0:
            first = max(1, last - BATCH + 1)
            for data in reversed(db.get_many(range(first, last + 1))):
                entry = None if data is None else _read(data)
                if entry is None:
                    continue
                if entry.at < since_ms - CLOCK_SLACK:
                    return
                if entry.at < since_ms or (wanted is not None and entry.circle != wanted):
                    continue
                if session is None or session in (entry.session, entry.name):
                    yield entry
            last = first - 1

    def close(self) -> None:
        """Write what has collected, and close; the next note opens it again. What can't be written is told and lost."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._closing.set()
            self._due.set()
            thread.join()
            self._closing.clear()
        try:
            self.flush()
        except (OurDBError, OSError) as e:
            log.error("%d entries of the audit log are lost: %s", len(self._held), e)
        if self._db is not None:
            self._db.close()
            self._db = None

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="herojobs-audit", daemon=True)
                self._thread.start()

    def _write(self) -> None:
        well = True
        while not self._closing.is_set():
            self._due.wait()
            self._due.clear()
            self._closing.wait(COLLECT)
            try:
                self.flush()
            except (OurDBError, OSError) as e:
                if well:
                    log.error("the audit log can't be written, its entries wait: %s", e)
                well = False
                self._due.set()
                self._closing.wait(1.0)
            else:
                well = True

    def _open(self) -> OurDB:
        if self._db is None:
            self._db = OurDB(self._path, sync=self._settings.sync, record_nr_max=MAX_ENTRIES, dump=False)
        return self._db


def merged(entries: Sequence[Entry]) -> list[Entry]:
    """Return entries with those as one that tell the same of jobs whose ids follow each other: a flood stays small."""
    found: list[Entry] = []
    places: dict[tuple[str, str, str, str], tuple[int, int]] = {}  # where it stands, and the id that would follow
    for entry in entries:
        queue, _, number = entry.ref.rpartition("/")
        if not number.isdigit():
            found.append(entry)
            continue
        kind = (entry.session, entry.method, queue, entry.outcome)
        place, following = places.get(kind, (0, 0))
        if following == int(number):
            found[place] = msgspec.structs.replace(found[place], count=found[place].count + entry.count)
        else:
            place = len(found)
            found.append(entry)
        places[kind] = place, int(number) + entry.count
    return found


def audit_folder(settings: Settings) -> Path:
    """Return where the log lies."""
    return settings.home / "var" / "audit"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user without a name, as containers have them
        return str(os.getuid())


def _read(data: bytes) -> Entry | None:
    try:
        return msgspec.json.decode(data, type=Entry)
    except ValueError:
        return None
