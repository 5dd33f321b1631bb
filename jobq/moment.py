"""Points in time, on two clocks: the wall clock, which may jump, and that of the boot, which ends with it."""

from __future__ import annotations

from jobq.typed import NamedTuple


class Moment(NamedTuple):
    """One reading of the clocks: `wall` since 1970, `boot` since this boot (counts suspend); seconds."""

    wall: float
    boot: float
    boot_id: str


BY_WALL = "wall"
STALE = 60.0  # seconds that `now` may be older than a decision it is compared with: its reader waited for the store


class Due(NamedTuple):
    """A time to wait for, on both clocks: the wall clock may jump, the other one ends with the boot.

    An instant of the wall clock alone has BY_WALL in the place of the boot's id, and its seconds on both.
    """

    wall: float
    boot: float
    boot_id: str

    @classmethod
    def after(cls, now: Moment, seconds: float) -> Due:
        """Return the moment `seconds` from `now`."""
        return cls(now.wall + seconds, now.boot + seconds, now.boot_id)

    @classmethod
    def at(cls, wall: float) -> Due:
        """Return an instant of the wall clock."""
        return cls(wall, wall, BY_WALL)

    def wait(self, now: Moment, longest: float) -> float:
        """Return the seconds from `now` until then, zero or less if it has come. It was at most `longest` ahead.

        A clock that shows more was or is wrong, or it is another clock: boot clocks differ between containers.
        """
        boot, wall = self.boot - now.boot, self.wall - now.wall
        if self.boot_id == BY_WALL:
            return wall
        possible = longest + STALE
        same_boot = self.boot_id == now.boot_id
        if same_boot and boot <= possible:
            return boot
        if not same_boot or not now.boot_id:  # without an id, only a reboot explains it
            wall = min(wall, longest - now.boot)  # it was decided before this boot
        return wall if wall <= possible else 0.0
