"""Rows of free text, each as long as one row of the terminal at most."""

from __future__ import annotations

from jobq.views.console import out, stdout


def out_rows(*lines: str) -> None:
    """Print lines to stdout, and on a terminal only as much of each as one row takes. Raises OutputFailed."""
    if stdout.isatty():
        from jobq.views.columns import cut  # noqa: PLC0415  # rich
        from jobq.views.terminal import size_of  # noqa: PLC0415

        columns = size_of(stdout.fileno())[0]
        lines = tuple(cut(line, columns) for line in lines)
    out(*lines)
