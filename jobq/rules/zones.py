"""Time zones: by name, and the instants at which their clocks are set. Instants are seconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from jobq.errors import UsageError

EPOCH = datetime(1970, 1, 1)
WEEK = 604_800  # seconds; from 2020 to 2035 no zone sets its clocks twice within four of them


def zone_of(name: str) -> tzinfo:
    """Return the time zone of a name. Raises UsageError."""
    if name.upper() in {"UTC", "Z", "GMT"}:
        return UTC  # also on a machine without zones
    from zoneinfo import ZoneInfo, available_timezones  # noqa: PLC0415  # not needed by most commands

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not there, a path, or a directory
        known = available_timezones()
    if not known:
        raise UsageError(
            f"{name!r:.60} can't be looked up: this machine knows no time zones",
            "install its package of time zones (tzdata), or use UTC",
        )
    close = nearest(name, known)
    raise UsageError(
        f"{name!r:.60} is not a time zone",
        f"did you mean {close}?" if close else "write one like Europe/Berlin, or UTC",
    )


def nearest(name: str, known: set[str]) -> str | None:
    """Return the zone that was probably meant: its name or its city is similar, in whatever case."""
    from difflib import get_close_matches  # noqa: PLC0415

    whole = {zone.lower(): zone for zone in sorted(known)}
    cities = {zone.lower().rpartition("/")[2]: zone for zone in sorted(known, key=lambda zone: ("/" in zone, zone))}
    asked = name[:60].lower().replace(" ", "_")
    for names in (whole, cities):
        if close := get_close_matches(asked, names, 1, 0.75):
            return names[close[0]]
    return None


def offset_at(at: float, zone: tzinfo) -> timedelta:
    """Return how much the clocks of the zone are ahead of UTC at an instant."""
    return datetime.fromtimestamp(at, zone).utcoffset() or timedelta(0)


def local_at(at: float, zone: tzinfo) -> datetime:
    """Return the time on the clocks of the zone, without the zone."""
    return datetime.fromtimestamp(at, zone).replace(tzinfo=None, fold=0)


def instant_of(local: datetime, offset: timedelta) -> float:
    """Return the instant at which clocks that are ahead of UTC by `offset` show a time."""
    return (local - offset - EPOCH).total_seconds()


def first_instant(local: datetime, zone: tzinfo) -> float:
    """Return the first instant at which the clocks of the zone show a time; if they skip it, the end of the gap."""
    before, after = (local.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta(0) for fold in (0, 1))
    at = instant_of(local, before)
    if before >= after:  # it is there, once or twice: `fold` 0 is the first
        return at
    change = first_change(instant_of(local, after), at, zone)
    return at if change is None else change


def first_change(after: float, until: float, zone: tzinfo) -> float | None:
    """Return the first instant later than `after`, up to `until`, at which the clocks are set; None: they are not."""
    offset, low = offset_at(after, zone), int(after // 1)
    while low < until:
        high = min(low + WEEK, int(until // 1))
        if offset_at(high, zone) != offset:
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset_at(middle, zone) == offset else (low, middle)
            return float(high)
        if high == low:
            return None
        low = high
    return None
