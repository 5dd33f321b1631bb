"""Instants that people type: 22:00, tomorrow 9:00, mon 8:00, 2026-12-24, 2026-12-24 18:00 Europe/Berlin."""

from __future__ import annotations

from jobq.errors import UsageError

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

DAY, WEEK = 86_400.0, 604_800.0  # seconds
YEARS = range(1100, 9001)  # that can be stored (values.Instant), wherever the zone is
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
FORMS = "write 22:00, tomorrow 9:00, mon 8:00 or 2026-12-24T18:00; a zone such as Europe/Berlin may follow"


def instant(text: str, now: datetime) -> float:
    """Return the seconds since 1970 of a text, for the time and the zone of `now`. Raises UsageError."""
    words = text.strip().split()
    zone = None
    if len(words) > 1 and ("/" in words[-1] or words[-1].upper() in {"UTC", "Z", "GMT"}):
        from jobq.rules.zones import zone_of  # noqa: PLC0415

        zone = zone_of(words.pop())
        now = now.astimezone(zone)
    try:
        moment = _moment(" ".join(words), now)
        if moment.tzinfo is None and zone is not None:
            moment = moment.replace(tzinfo=zone)
        seconds = moment.timestamp()  # of a time that the clocks skip: as much later
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"{text!r} is not a time", FORMS) from None
    if moment.year not in YEARS:
        raise UsageError(f"{text!r} is too far away", FORMS)
    return seconds


def next_instant(text: str) -> float:
    """Return the seconds since 1970 of a text, in the zone of the system. Raises UsageError."""
    from datetime import datetime  # noqa: PLC0415

    return instant(text, datetime.now().astimezone())


def past_instant(text: str, duration: Callable[[str], float]) -> float:
    """Return the last moment that a text means: so long ago, or the last time of a day. Raises UsageError."""
    from datetime import datetime  # noqa: PLC0415

    now = datetime.now().astimezone()
    try:
        return now.timestamp() - duration(text)
    except UsageError:
        seconds = instant(text, now)
    while seconds > now.timestamp() and text.partition(" ")[0].lower() not in {"tomorrow", "today"} and "-" not in text:
        seconds -= WEEK if text[:1].isalpha() else DAY
    return seconds


def _moment(text: str, now: datetime) -> datetime:
    """Return the moment of a text without a zone name, naive if it names no offset. Raises ValueError."""
    from datetime import datetime, timedelta  # noqa: PLC0415

    first, _, rest = text.lower().partition(" ")
    here = now.replace(tzinfo=None)
    day = {"yesterday": -1, "today": 0, "tomorrow": 1}.get(first)
    if first[:3] in DAYS and first in {first[:3], *LONG_DAYS}:
        day = (DAYS.index(first[:3]) - here.weekday()) % 7
        if _at_time(here, rest) + timedelta(day) <= here:
            day += 7
    if day is not None:
        return _at_time(here, rest) + timedelta(day)
    if ":" in first and "-" not in first and "t" not in first:
        moment = _at_time(here, text)
        return moment if moment > here else moment + timedelta(1)
    return datetime.fromisoformat(f"{first} 0{rest}" if rest[1:2] == ":" else text)


LONG_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _at_time(day: datetime, text: str) -> datetime:
    """Return the day at "9:00" or "22:15:30"; at midnight for "". Raises ValueError."""
    parts = text.split(":") if text else ["0", "0"]
    if not 2 <= len(parts) <= 3 or not all(part.isascii() and part.isdecimal() and len(part) <= 2 for part in parts):
        raise ValueError
    hour, minute, second = (*map(int, parts), 0)[:3]
    return day.replace(hour=hour, minute=minute, second=second, microsecond=0)
