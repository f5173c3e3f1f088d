"""Times as people write them: ISO form, or a span like 90s, 10m, 2h, 1d."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from herojobs.errors import InvalidJob

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def span(text: str, field: str) -> int:
    """Return the seconds in a span; a number alone is seconds.

    Raises:
        InvalidJob: it is none; the error names `field`.
    """
    number = text if text.isdigit() else text[:-1]
    if not (number.isascii() and number.isdigit()) or (text[-1] not in UNITS and not text.isdigit()):
        raise InvalidJob(field, text, "no span of time", "a number and s, m, h or d, like 90s, 12h or 30d")
    return int(number) * UNITS.get(text[-1], 1)


def moment(text: str, sign: int, field: str) -> datetime:
    """Return a time given in ISO form, or as a span from now.

    Args:
        text: what was given.
        sign: 1 = spans lead into the future, -1 = into the past.
        field: what it is for, for the error.

    Raises:
        InvalidJob: it is neither.
    """
    if text[-1:] in UNITS and text[:-1].isascii() and text[:-1].isdigit():
        try:
            return datetime.now(UTC) + sign * timedelta(seconds=span(text, field))
        except OverflowError:
            raise InvalidJob(field, text, "too far away") from None
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise InvalidJob(field, text, "no time", "2026-12-24T18:00, or a span like 90s, 10m, 2h, 1d") from None
