"""Texts as values: numbers, words, lists, sizes, times, money (HeroScript 9).

Each function takes the text of a value and returns what it means, or raises BadValue, which says what is accepted.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple


class BadValue(ValueError):
    """A text that doesn't fit; `accepted` says what would, as in "must be {accepted}"."""

    def __init__(self, accepted: str) -> None:
        super().__init__(accepted)
        self.accepted = accepted


class Money(NamedTuple):
    """An amount of money: no conversion, no rates."""

    amount: Decimal
    currency: str


class Size(int):
    """A number of bytes; as an annotation it accepts `20MB`."""


INTS: dict[str, tuple[int, int]] = {
    "int": (-(2**63), 2**63 - 1),
    **{f"i{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"u{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)},
}
"""Kinds of whole numbers: name, lowest, highest."""

_TRUE = frozenset(("1", "true", "y", "yes", "on"))
_FALSE = frozenset(("0", "false", "n", "no", "off"))

_INT = re.compile(r"[+-]?[0-9]+(?:_[0-9]+)*+", re.ASCII)
_FLOAT = re.compile(r"([+-]?(?:[0-9]+(?:_[0-9]+)*+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?)[ ]*(%?)")
_LIST_ITEM = re.compile(r"[ \t\n]*+(?:'([^']*+)'[ \t\n]*+(?=,|\Z)|\"([^\"]*+)\"[ \t\n]*+(?=,|\Z)|([^,]*+)),?")
_SIZE = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?)[ ]*(?:([KMGT]?)(?:I?B))?", re.IGNORECASE)
_RELATIVE = re.compile(r"([+-])([0-9]{1,12})([smhdwMQY])")
_DATE = (
    r"(?:(?P<y>[0-9]{4})[-/](?P<m>[0-9]{1,2})[-/](?P<d>[0-9]{1,2})"
    r"|(?P<d2>[0-9]{1,2})[-/](?P<m2>[0-9]{1,2})[-/](?P<y2>[0-9]{4}))"
)
_CLOCK = r"(?P<H>[0-9]{1,2})(?::(?P<M>[0-9]{1,2})(?::(?P<S>[0-9]{1,2})(?:\.(?P<f>[0-9]{1,9}))?)?)?"
_ZONE = r"(?:[ ]*(?:(?P<utc>[Zz])|(?P<sign>[+-])(?P<zh>[0-9]{2})(?::?(?P<zm>[0-9]{2}))?))?"
_INSTANT = re.compile(rf"{_DATE}(?:(?:[ ]+|T){_CLOCK}{_ZONE})?")
_DURATION_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)([smhdw])")
_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?")
_TIMESTAMP = re.compile(r"([0-9]{1,2})(?::([0-9]{1,2})(?::([0-9]{1,2}))?)?[ ]*(AM|PM)?", re.IGNORECASE)
_MONEY = re.compile(
    r"([A-Z]{3,5}|[$£€])?[ ]*(-?[0-9][0-9,_]*(?:\.[0-9]+)?)[ ]*"
    r"(?:([KM])(?:[ ]+|(?=[A-Z]{3,5}\Z)|(?=[$£€]\Z)|\Z))?([A-Z]{3,5}|[$£€])?"
)

_UNIT_SECONDS = {
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": 86_400,
    "w": 604_800,
    "M": 30 * 86_400,
    "Q": 90 * 86_400,
    "Y": 365 * 86_400,
}
_SIGNS = {"$": "USD", "£": "GBP", "€": "EUR"}
_GIGABYTE = 1024**3


def to_int(text: str, kind: str = "int") -> int:
    """Return a whole number of a kind of `INTS`: digits, `_` between them, a sign unless it is unsigned."""
    low, high = INTS[kind]
    text = text.strip()
    accepted = "a whole number" if kind == "int" else f"a whole number from {low:,} to {high:,}"
    if not _INT.fullmatch(text) or (low == 0 and text[0] in "+-"):
        raise BadValue(accepted)
    # Longer than any number in range; int() of very long texts takes quadratic time.
    digits = text.replace("_", "")
    if len(digits) > 40:
        digits = digits.lstrip("+-0") or "0"
        if len(digits) > 40:
            raise BadValue(f"a whole number from {low:,} to {high:,}")
    number = int(digits)
    if not low <= number <= high:
        raise BadValue(f"a whole number from {low:,} to {high:,}")
    return number


def to_float(text: str) -> float:
    """Return a number; `15%` is 0.15."""
    found = _FLOAT.fullmatch(text.strip())
    number = float(found[1]) if found else math.inf
    if found is None or math.isinf(number):
        raise BadValue("a number")
    return number / 100 if found[2] else number


def to_decimal(text: str) -> Decimal:
    """Return a number as written, to the last digit; `15%` is 0.15."""
    found = _FLOAT.fullmatch(text.strip())
    if found is None:
        raise BadValue("a number")
    number = Decimal(found[1])
    return number / 100 if found[2] else number


def to_percentage(text: str) -> float:
    """Return the hundredth of a number from 0 to 100, written `19`, `19%` or `%19`."""
    text = text.strip().removeprefix("%").removesuffix("%")
    try:
        number = to_decimal(text)
    except BadValue:
        raise BadValue("a percentage from 0 to 100") from None
    if not 0 <= number <= 100:
        raise BadValue("a percentage from 0 to 100")
    return float(number / 100)


def to_bool(text: str) -> bool:
    """Return what one of the ten words for true and false means, in any case."""
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise BadValue("true or false (1 yes y on, 0 no n off)")


def is_true_word(text: str) -> bool:
    """Whether a text is empty or a word for true."""
    return not text.strip() or text.strip().lower() in _TRUE


def is_false_word(text: str) -> bool:
    """Whether a text is empty or a word for false."""
    return not text.strip() or text.strip().lower() in _FALSE


def to_list(text: str) -> list[str]:
    """Return the items of a text split at commas; outer brackets and quotes go, empty items are dropped."""
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1].strip()
    items = []
    for found in _LIST_ITEM.finditer(text):
        kind = found.lastindex
        item = found[kind] if kind else ""
        # A quoted item may hold quotes of the other kind around its text: they go as well.
        item = item.strip().strip("'\"").strip()
        if item:
            items.append(item)
    return items


def to_bytes(text: str) -> Size:
    """Return a size in bytes: a number and `B KB MB GB TB` or `KiB` …, units of 1024; no unit means bytes."""
    number, unit = _size(text)
    return Size(number * unit)


def to_gigabytes(text: str) -> int:
    """Return a size in gigabytes, rounded up; no unit means gigabytes."""
    number, unit = _size(text, no_unit=_GIGABYTE)
    return math.ceil(number * unit / _GIGABYTE)


def _size(text: str, no_unit: int = 1) -> tuple[Decimal, int]:
    text = text.strip()
    found = _SIZE.fullmatch(text)
    if found is None:
        raise BadValue("a size, like 500, 20MB or 1.5 GB")
    if found[2] is None:
        return Decimal(found[1]), no_unit
    return Decimal(found[1]), 1024 ** "BKMGT".index(found[2].upper() or "B")


def to_time(text: str) -> datetime:
    """Return an instant in UTC: empty, `0`, `now`, relative to now (`+1w -4h`), or absolute (`2026-12-24 18:00`)."""
    text = text.strip()
    if text in ("", "0", "now"):
        return datetime.now(UTC)
    try:
        return _relative(text) if text[0] in "+-" else _absolute(text)
    except (ValueError, OverflowError):
        accepted = "a time, like 2026-12-24 18:00, +2h or now"
        raise BadValue(accepted) from None


def _relative(text: str) -> datetime:
    text = text.replace(" ", "")
    seconds = 0
    end = 0
    for found in _RELATIVE.finditer(text):
        if found.start() != end:
            break
        seconds += int(found[1] + found[2]) * _UNIT_SECONDS[found[3]]
        end = found.end()
    if end != len(text):
        raise ValueError(text)
    return datetime.now(UTC) + timedelta(seconds=seconds)


def _absolute(text: str) -> datetime:
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise ValueError(text)
    part = found.groupdict(default="0")
    year, month, day = (part["y"], part["m"], part["d"]) if found["y"] else (part["y2"], part["m2"], part["d2"])
    micros = int(part["f"].ljust(6, "0")[:6])
    zone: timezone = UTC
    if found["sign"]:
        offset = timedelta(hours=int(part["zh"]), minutes=int(part["zm"]))
        zone = timezone(-offset if found["sign"] == "-" else offset)
    instant = datetime(
        int(year), int(month), int(day), int(part["H"]), int(part["M"]), int(part["S"]), micros, tzinfo=zone
    )
    return instant.astimezone(UTC)


def to_duration(text: str) -> float:
    """Return seconds: `90`, `90s`, `1h30m`, `2d`; a sign is allowed."""
    text = text.strip().replace(" ", "")
    sign = -1 if text.startswith("-") else 1
    text = text[1:] if text[:1] in ("+", "-") else text
    if _SECONDS.fullmatch(text):
        return sign * float(text)
    total = 0.0
    end = 0
    for found in _DURATION_PART.finditer(text):
        if found.start() != end:
            break
        total += float(found[1]) * _UNIT_SECONDS[found[2]]
        end = found.end()
    if not text or end != len(text):
        raise BadValue("a duration, like 90, 90s, 1h30m or 2d")
    return sign * total


def to_timestamp(text: str) -> int:
    """Return seconds since midnight: `16:21`, `8`, `10AM`, `8:07 pm`; 12AM is midnight, 12PM noon."""
    found = _TIMESTAMP.fullmatch(text.strip())
    if found is not None:
        hour, minute, second = int(found[1]), int(found[2] or 0), int(found[3] or 0)
        half = (found[4] or "").upper()
        if minute < 60 and second < 60 and (1 <= hour <= 12 if half else hour < 24):
            if half:
                hour = hour % 12 + (12 if half == "PM" else 0)
            return hour * 3600 + minute * 60 + second
    raise BadValue("a time of day, like 16:21, 8 or 8:07 pm")


def to_money(text: str) -> Money:
    """Return an amount and its currency's code, USD if none is given; `k` is thousand, `m` million."""
    found = _MONEY.fullmatch(text.strip().upper())
    if found is None or (found[1] and found[4]):
        raise BadValue("an amount of money, like 10.5 USD, $5 or 20k EUR")
    # An exponent is exact, a product would be rounded.
    power = {"K": "E3", "M": "E6"}.get(found[3] or "", "")
    amount = Decimal(f"{Decimal(found[2].replace(',', '').replace('_', '') + power):f}")
    code = found[1] or found[4] or "USD"
    return Money(amount, _SIGNS.get(code, code))


def to_email(text: str) -> str:
    """Return an e-mail address in lower case; it has one `@` and no space."""
    text = text.strip().lower()
    name, _, domain = text.partition("@")
    if not name or not domain or "@" in domain or any(letter.isspace() for letter in text):
        raise BadValue("an e-mail address, like name@example.org")
    return text


def to_telnr(text: str) -> str:
    """Return a telephone number without outer `+` and spaces and without `-`."""
    return text.strip("+ \t\n").replace("-", "")


def to_path(text: str) -> Path:
    """Return a path; a leading `~` becomes the home folder, also `~name` where there is such a user."""
    path = Path(text.strip())
    try:
        return path.expanduser()
    except RuntimeError:
        return path
