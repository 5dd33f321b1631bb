"""What jobq says about many jobs: `stats`, `timeline`, and the page of `report`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from jobq.rules.statistics import Spread, by_command, by_queue, spread
from tests.conftest import Cli
from tests.helpers.terminal import Terminal
from tests.views.test_live import ended

HOSTILE = "</script><script>document.title=`PWNED`</script><img src=x onerror=alert(1)> \u2028 &amp;"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def done(cli: Cli) -> Cli:
    """Four jobs: a success, a retried success, a failure with hostile text everywhere, and one that is held."""
    cli("add", "-q", "build", "make", "--version")
    cli("add", "--retries", "1", "--backoff", "const:0s", "[ $JOBQ_JOB_ATTEMPT = 2 ]")
    cli("add", "--retries", "0", "--", "sh", "-c", 'printf "%s\\033]0;PWNED\\007" "$0"; exit 3', HOSTILE)
    cli("worker", "--drain", "-j", "1", code=1)
    cli("add", "--hold", "true")
    return cli


# -- figures -----------------------------------------------------------------------------------------------


def test_percentiles_are_times_that_were_measured() -> None:
    assert spread([]) == Spread(None, None, None)
    assert spread([5.0]) == Spread(5.0, 5.0, 5.0)
    assert spread([float(n) for n in range(1, 11)]) == Spread(5.0, 9.0, 10.0)


def test_commands_are_grouped_by_name_or_their_first_words() -> None:
    jobs = [
        ended(1, 1, "make all -j4"),
        ended(2, 3, "make all"),
        ended(3, 5, "make test", 1),
        ended(4, 7, "true", spec={"name": "nightly", "queue": "night"}),
    ]
    groups = {group.name: group for group in by_command(jobs)}
    assert groups.keys() == {"make all", "make test", "nightly"}
    assert groups["make all"].succeeded == 2
    assert groups["make all"].run == Spread(1, 3, 3)
    assert groups["make test"].failed == 1
    assert [group.name for group in by_queue(jobs)] == ["default", "night"]


def test_statistics_are_shown_by_queue_and_by_command(done: Cli) -> None:
    text = done("stats").stdout
    assert text.startswith("4 jobs: 2 succeeded (67 %), 1 failed, 1 other; ")
    rows = {line.split("  ")[0]: line.split() for line in text.splitlines()}
    assert rows["build"][1:6] == ["1", "1", "0", "0", "0"]
    assert rows["default"][1:6] == ["3", "1", "1", "1", "1"]
    assert rows["make --version"][2:4] == ["1", "1"]
    data = json.loads(done("stats", "--queue", "build", "--json").stdout)
    assert [group["name"] for group in data["queues"]] == ["build"]
    assert data["queues"][0]["run_s"]["p50"] >= 0
    assert "no such jobs" in done("stats", "--queue", "none").stderr


# -- the timeline ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [40, 60, 100, 200])
def test_the_timeline_fits_into_the_terminal(done: Cli, columns: int) -> None:
    terminal = Terminal(done, columns, "timeline")
    terminal.end()
    lines = terminal.text().splitlines()
    assert len(lines) == 5, "a scale, and a line for each job"
    assert "✓" in lines[1]
    assert [line.split()[0] for line in lines[1:]] == ["1", "2", "3", "4"]
    assert not any("PWNED" in title for title in terminal.titles)


def test_attempts_that_failed_look_different(done: Cli) -> None:
    lines = done("timeline", "-n", "3").stdout.splitlines()
    assert "╍" in lines[1]
    assert lines[2].split()[-3] == "✗"
    assert lines[3].endswith("⏸")


# -- the page ----------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """The elements of a page, and its data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note the text of scripts."""
        if self.tags and self.tags[-1][0] == "script" and data.strip():
            self.scripts.append(data)


def test_a_page_holds_its_data_and_asks_for_nothing(done: Cli) -> None:
    told = done("report", "-o", "r.html")
    assert "4 jobs in r.html" in told.stderr
    text = (done.cwd / "r.html").read_text(encoding="utf-8")
    page = Page(text)
    assert [tag for tag, _ in page.tags if tag in {"script", "img", "link", "iframe"}] == ["script", "script"]
    assert not any({"src", "href", "onerror"} & attributes.keys() for _, attributes in page.tags)
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "<title>jobq: 2 of 4 succeeded</title>" in text
    data = json.loads(page.scripts[0])
    rows = {row[0]: row for row in data["jobs"]}
    assert rows[3][3:5] == ["failed", "exit 3"]
    assert HOSTILE.partition("\u2028")[0] in rows[3][2]
    assert "\\u2028" in rows[3][2], "it is escaped as on a terminal"
    assert rows[3][11].startswith("</script>")
    assert len(rows[2][9]) == 2, "both attempts"
    assert rows[4][9] == []


def test_a_page_of_chosen_jobs_goes_to_stdout(done: Cli) -> None:
    text = done("report", "--queue", "build", "-o", "-").stdout
    assert "<title>jobq: 1 of 1 succeeded</title>" in text
    assert "no such jobs" in done("report", "--queue", "none").stderr


def test_a_thousand_jobs_take_less_than_300_kilobytes(cli: Cli) -> None:
    lines = [f"true /data/images/2026-11-30/IMG_{n:05}.png" for n in range(980)] + ["seq 100; exit 1"] * 20
    cli("add", "--retries", "0", "--from", "-", stdin="\n".join(lines))
    cli("worker", "--drain", "-j", "4", code=1)
    cli("report")
    assert (cli.cwd / "report.html").stat().st_size < 300_000


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_draws_the_page(done: Cli, tmp_path: Path) -> None:
    done("report", "-o", "r.html")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path}/chromium"]  # fmt: skip
    words = [str(CHROMIUM), *flags, "--enable-logging=stderr", "--dump-dom", f"file://{done.cwd}/r.html"]
    shown = subprocess.run(words, capture_output=True, encoding="utf-8", timeout=120, check=True)
    assert "CONSOLE" not in shown.stderr, shown.stderr
    page = Page(shown.stdout)
    assert "PWNED</title>" not in shown.stdout
    assert sum(tag == "rect" for tag, _ in page.tags) == 4, "one for each attempt"
    assert (
        len([1 for tag, attributes in page.tags if tag == "tr" and (attributes.get("id") or "").startswith("j")]) == 4
    )
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert re.search(r"<pre>&lt;/script&gt;", shown.stdout)
