"""jobq help TOPIC"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands.topics import TOPICS
from jobq.errors import UsageError
from jobq.views.console import out


def help_(
    topic: Annotated[
        str | None, typer.Argument(metavar="TOPIC", help=f"One of {', '.join(TOPICS)}; or a command.")
    ] = None,
) -> None:
    """Explain a topic, or a command.

    Topics: selectors (the words that name jobs), environment (variables), exit-codes, agents (for programs that use
    jobq).

    Examples: jobq help selectors; jobq help add
    """
    if topic not in TOPICS:
        raise UsageError(f"there is no topic {topic!r:.60}", f"there are: {', '.join(TOPICS)}, and all commands")
    out(*TOPICS[topic]().strip("\n").split("\n"))
