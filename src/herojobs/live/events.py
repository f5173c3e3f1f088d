"""Events: what the scripts publish on `heroevents:<q>` when a job changes its state, read back as values."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

log = logging.getLogger("herojobs.live")


class Event(msgspec.Struct, frozen=True):
    """One change of state.

    Attributes:
        id: the job's id in its queue's keys; a text if a foreign program pushed one that is no number.
        event: submitted, scheduled, started, put_back, retrying (it failed; see `due`), lease_expired, done, error,
            cancel (asked for), removed, retried, requeued, restored, adopted, deleted, progress, held (it waits for
            other jobs), released, dropped (it was pushed twice) or dead (see `reason`).
        at: when, unix milliseconds by Redis's clock.
        status: the job's status if it is over now.
        due: when a scheduled job or a retry is due, unix milliseconds.
        percent: of `progress`, how far the job is, 0 to 100.
        text: of `progress`, what it is doing.
        reason: why an id was given up, any JSON value.
    """

    id: int | str
    event: str
    at: int
    status: str = ""
    due: int = 0
    reason: Any = None
    percent: float | None = None
    text: str = ""


_decoder = msgspec.json.Decoder(Event)


def decode_events(message: bytes) -> list[Event]:
    """Return the events of one message, in order; lines that aren't events are passed over."""
    events = []
    for line in message.split(b"\n"):
        try:
            events.append(_decoder.decode(line))
        except msgspec.DecodeError:
            log.debug("not an event: %r", line[:200])
    return events
