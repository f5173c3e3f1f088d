"""A clock that stands still until a test moves it; everything in this process that asks for the time sees it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from herojobs import job


class FakeClock:
    """The time by which jobs are due, leases end and schedules tick, while it is in use.

        with FakeClock() as clock:
            hero.submit(..., at=clock.now + timedelta(hours=1))
            clock.move(hours=1)

    It counts for clients and WatchDogs of this process, what they have Redis do included. What waits for real time goes
    on to do so: `wait`, a job's timeout, the time to live of jobs that are over.

    Args:
        now: where it begins; the present time if not given. A time without a zone is local.
    """

    def __init__(self, now: datetime | None = None) -> None:
        # On a whole second, since a job's own times are.
        self._ms = job.now_ms() // 1000 * 1000 if now is None else int(now.timestamp() * 1000)

    @property
    def ms(self) -> int:
        """The time, unix milliseconds."""
        return self._ms

    @property
    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.fromtimestamp(self._ms / 1000, UTC)

    def move(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0, milliseconds: float = 0
    ) -> None:
        """Move the clock by a span; a negative one moves it back, as a system's clock that is set may."""
        span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds)
        self._ms += round(span.total_seconds() * 1000)

    def set(self, now: datetime) -> None:
        """Set the clock; a time without a zone is local."""
        self._ms = int(now.timestamp() * 1000)

    def __enter__(self) -> Self:
        job.use_clock(lambda: self._ms)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        job.use_clock(None)
