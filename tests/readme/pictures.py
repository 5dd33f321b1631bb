"""The pictures of the README: real screens, exported by rich. `python -m tests.readme.pictures` draws them again."""

from __future__ import annotations

import html
import io
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pyte
from rich.console import Console
from rich.text import Text

from tests.conftest import Cli, wait_until
from tests.helpers.terminal import Terminal

FOLDER = Path(__file__).parents[2] / ".github" / "pictures"
COLUMNS = 110
NAMES = {"brown": "yellow", "brightblack": "bright_black", "brightbrown": "bright_yellow"}  # pyte's, and rich's


def styled(screen: pyte.Screen) -> Text:
    """Return the lines of the screen with their colours, without empty ones at the end."""
    text = Text()
    last = max((row for row, line in enumerate(screen.display) if line.strip()), default=0)
    for row in range(last + 1):
        for column in range(screen.columns):
            cell = screen.buffer[row][column]
            colour = "" if cell.fg == "default" else NAMES.get(cell.fg, f"#{cell.fg}" if len(cell.fg) == 6 else cell.fg)
            words = [word for word, on in (("bold", cell.bold), ("underline", cell.underscore)) if on]
            text.append(cell.data, " ".join([*words, colour]).strip() or None)
        text.append("\n")
    text.rstrip()
    return text


def picture(screen: pyte.Screen, title: str) -> str:
    """Return the screen as SVG. It loads nothing: the font is the reader's own."""
    console = Console(record=True, width=screen.columns, file=io.StringIO(), force_terminal=True)
    console.print(styled(screen), no_wrap=True, highlight=False)
    return re.sub(r"\s*@font-face \{.*?\}", "", console.export_svg(title=title, unique_id="jobq"), flags=re.DOTALL)


def words_of(svg: str) -> list[str]:
    """Return the lines of a picture as plain text, below its title."""
    rows: dict[float, list[tuple[float, str]]] = {}
    for x, y, text in re.findall(r'<text class="[^"]*-r\d+" x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>', svg):
        rows.setdefault(float(y), []).append((float(x), html.unescape(text).replace("\xa0", " ")))
    return ["".join(text for _, text in sorted(rows[y])).rstrip() for y in sorted(rows)]


PROGRAMS = {
    "jobq": f'exec {sys.executable} -m jobq "$@"',
    "fetch": "sleep 0.2",
    "lint": "echo 'app.py:7: undefined name x'; exit 2",
    "train": 'for i in 1 2 3 4 5 6; do jobq progress $((10 * i)) "epoch $i/10"; done; wait_for_go',
    "encode": "echo frame=1200 fps=48; wait_for_go",
}


def install(cli: Cli) -> None:
    """Let jobs find these programs."""
    (cli.cwd / "bin").mkdir()
    for name, line in PROGRAMS.items():
        program = cli.cwd / "bin" / name
        program.write_text(f"#!/bin/sh\n{line.replace('wait_for_go', 'until [ -e go ]; do sleep 0.05; done')}\n")
        program.chmod(0o755)
    cli.env["PATH"] = f"{cli.cwd}/bin:{cli.env['PATH']}"


def let_go(cli: Cli) -> None:
    """Let the jobs end that wait for that."""
    (cli.cwd / "go").touch()
    wait_until(lambda: not cli.queue.store.read().running)


@contextmanager
def worker(cli: Cli) -> Iterator[pyte.Screen]:
    """A worker at work: a failure, what is done, jobs that tell how far they are, and what waits."""
    cli("add", "--name", "fetch", "fetch data.csv")
    cli("add", "--name", "lint", "--retries", "0", "lint app.py")
    cli("add", "--name", "train", "train --epochs 10 data.csv")
    cli("add", "--name", "encode", "encode talk.mov talk.mp4")
    cli("add", "--name", "report", "--in", "3h", "make report")
    cli("add", "--name", "upload", "--after", "encode", "rsync -a out/ nas:out/")
    terminal = Terminal(cli, COLUMNS, "worker", "-j", "2")
    for words in ("60%", "fps=48", "succeeded", "exit 2"):
        terminal.shows(words)
    yield terminal.screen
    let_go(cli)
    terminal.type(b"\x03\x03")
    terminal.end()


@contextmanager
def status(cli: Cli) -> Iterator[pyte.Screen]:
    """What `jobq` alone shows."""
    cli("queue", "set", "gpu", "--limit", "1")
    cli("add", "--retries", "0", "--name", "lint", "lint app.py")
    cli("worker", "--drain", code=1)
    process = cli.worker("-j", "4")
    for name in ("a", "b"):
        cli("add", "-q", "gpu", "--name", f"train-{name}", f"train --epochs 10 {name}.csv")
    cli("add", "--name", "upload", "--after", "train-b", "rsync -a out/ nas:out/")
    cli("add", "--name", "report", "--hold", "make report")
    wait_until(lambda: "60%" in cli("list").stdout)
    terminal = Terminal(cli, COLUMNS)
    terminal.end()
    yield terminal.screen
    let_go(cli)
    process.terminate()
    process.communicate()


SCENES: dict[str, Callable[[Cli], AbstractContextManager[pyte.Screen]]] = {"worker": worker, "status": status}
TITLES = {"worker": "jobq worker -j 2", "status": "jobq"}


def main() -> None:
    """Draw all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for name, scene in SCENES.items():
        with tempfile.TemporaryDirectory() as folder:
            cli = Cli(Path(folder) / "store", Path(folder))
            install(cli)
            with scene(cli) as screen:
                (FOLDER / f"{name}.svg").write_text(picture(screen, TITLES[name]), encoding="utf-8")


if __name__ == "__main__":
    main()
