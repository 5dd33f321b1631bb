"""Progress that a running job tells of itself, and the time that it is going to take yet. Times are seconds."""

from __future__ import annotations

from jobq.rules.forecast import about
from jobq.typed import NamedTuple

BAR = 8  # characters


class Progress(NamedTuple):
    """The latest report: the fraction that is done (None: not known), what is being done, and when it was told."""

    fraction: float | None
    text: str
    at: float  # wall clock

    def rest(self, began_at: float, now: float) -> float | None:
        """Return the time until it is done, if it goes on as before; None if that can't be told yet."""
        if not self.fraction or not began_at < self.at <= now + 1:
            return None
        whole = (self.at - began_at) / self.fraction
        return max(0.0, began_at + whole - now)

    @property
    def percent(self) -> str:
        """The fraction as "40%"; "" if it is not known."""
        return "" if self.fraction is None else f"{self.fraction * 100:.0f}%"

    @property
    def bar(self) -> str:
        """The fraction as a bar of BAR characters; "" if it is not known."""
        if self.fraction is None:
            return ""
        full = int(self.fraction * BAR)
        return "█" * full + "░" * (BAR - full)


def words(progress: Progress, began_at: float, now: float, *, bar: bool = False) -> str:
    """Return a report in words: "40% epoch 4/10, ~3m20s left", with a bar behind the percentage if asked for."""
    rest = progress.rest(began_at, now)
    told = " ".join(filter(None, (progress.percent, progress.bar if bar else "", progress.text)))
    return ", ".join(filter(None, (told, f"~{about(rest)} left" if rest and rest >= 1 else "")))
