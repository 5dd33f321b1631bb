"""Durations as people write and read them. Light, as `jobq add` imports it."""

from __future__ import annotations

from jobq.errors import UsageError

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "ms": 0.001}


def duration(text: str) -> float:
    """Return the seconds of "90", "1.5h", "1h30m", "250ms". Raises UsageError."""
    total, number, unit = 0.0, "", ""
    try:
        for char in text.strip().lower() + "\0":
            if char.isdecimal() or char == ".":
                if unit:
                    total, number, unit = total + float(number) * UNITS[unit], "", ""
                number += char
            elif char != "\0":
                unit += char
        total += float(number) * UNITS[unit or "s"]
    except (KeyError, ValueError):
        raise UsageError(f"{text!r} is not a duration", "write it like 90, 45s, 10m, 1h30m or 2d") from None
    return total


def span(seconds: float) -> str:
    """Return a duration in few characters: 0.12 s, 4.5 s, 3m20s, 2h05m, 3d04h."""
    if seconds < 0.995:
        return f"{max(seconds, 0.0):.2f} s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds > 1e15:
        return "for ever"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02d}m"
    return f"{hours // 24}d{hours % 24:02d}h"


def exact(seconds: float) -> str:
    """Return a duration as it can be given, without loss: 500ms, 90s, 2m, 1h, 7d."""
    for unit in ("d", "h", "m", "s"):
        if seconds and seconds % UNITS[unit] == 0:
            return f"{seconds / UNITS[unit]:.0f}{unit}"
    return f"{seconds * 1000:.12g}ms" if seconds else "0s"
