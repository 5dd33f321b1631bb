"""jobq events"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands.common import queue_of
from jobq.commands.options import value_of
from jobq.commands.selecting import selects_jobs
from jobq.options.selectors import NO_FILTERS, Wanted
from jobq.rules.events import Happening, parse_mark
from jobq.views.console import info, out, stdout_closed
from jobq.views.envelope import envelope
from jobq.views.feed import Feed, event_data, event_line
from jobq.views.rows import out_rows


@selects_jobs
def events(
    context: typer.Context,
    jobs: Wanted,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens, until ^C.")] = False,
    after: Annotated[
        str | None, typer.Option("--after", metavar="CURSOR", help="Only what follows the event with this cursor.")
    ] = None,
    most: Annotated[int | None, typer.Option("--last", "-n", metavar="N", min=0, help="Only the last N.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each.")] = False,
) -> None:
    """Print what happened to jobs, in order.

    With -f alone, it prints what happens from now on; with --after, what a reader has missed as well. Each line of
    JSON has the cursor for that.

    Examples: jobq events --since 1h; jobq events -f --json; jobq events -q gpu -n 20
    """
    queue = queue_of(context)
    cursor = None if after is None else value_of("--after", parse_mark, after)
    ids = set(queue.select(Wanted(jobs.words)).ids) if jobs.words else None
    filters, since = jobs.filters._replace(since=None), jobs.filters.since
    feed = Feed(queue, lambda job: (ids is None or job.id in ids) and filters.match(job), cursor)
    old = [one for one in feed.look() if since is None or one.cursor.at >= since]
    is_new_only = follow and cursor is None and most is None and jobs.filters == NO_FILTERS and not jobs.words
    tell(feed, [] if is_new_only else old if most is None else old[len(old) - min(most, len(old)) :], json=json)
    if not follow:
        if not old and not json:
            info("no such events")
        return
    poll = queue.poll()
    while not stdout_closed():
        new = feed.look()
        tell(feed, new, json=json)
        poll.sleep(news=bool(new))


def tell(feed: Feed, found: list[Happening], *, json: bool) -> None:
    """Print the events."""
    if found:
        if json:
            out(*(envelope(**event_data(one, feed.mark(one))) for one in found))
        else:
            out_rows(*map(event_line, found))
