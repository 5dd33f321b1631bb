"""Crontabs of different styles: what each line becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobq.environ import user
from jobq.options.crontab import Entry, Note, name_of, parse
from tests.conftest import Cli

DEBIAN = """# Edit this file to introduce tasks to be run by cron.
#
# m h  dom mon dow   command

SHELL=/bin/bash
PATH="/usr/local/bin:/usr/bin:/bin"
MAILTO=me@example.org
  0 5 * * 1\ttar -zcf /var/backups/home.tgz /home/
@daily   $HOME/bin/clean >/dev/null 2>&1
@reboot  /usr/bin/start
"""
SYSTEM = """17 *\t* * *\troot    cd / && run-parts --report /etc/cron.hourly
25 6\t* * *\troot\ttest -x /usr/sbin/anacron || run-parts /etc/cron.daily
* * * * * nobody
"""
PERCENT = """0 9 * * 1-5 mail -s "it's \\% done" boss%Hello%%bye
5 4 * * sun echo "run at 5 after 4 every sunday"
"""


def entries(text: str) -> list[Entry]:
    return [line for line in parse(text) if isinstance(line, Entry)]


def notes(text: str) -> list[Note]:
    return [line for line in parse(text) if isinstance(line, Note)]


def test_a_users_crontab() -> None:
    first, second = entries(DEBIAN)
    assert (first.number, first.when, first.command) == (8, "0 5 * * 1", "tar -zcf /var/backups/home.tgz /home/")
    assert first.variables == {"SHELL": "/bin/bash", "PATH": "/usr/local/bin:/usr/bin:/bin"}
    assert (second.when, second.command) == ("@daily", "$HOME/bin/clean >/dev/null 2>&1")
    told = notes(DEBIAN)
    assert [(note.number, note.refused) for note in told] == [(5, False), (7, False), (10, True)]
    assert "sends no mail" in told[1].text


def test_a_systems_crontab() -> None:
    first, second = (line for line in parse(SYSTEM, system=True, me="root") if isinstance(line, Entry))
    assert first.command == "cd / && run-parts --report /etc/cron.hourly"
    assert second.when.split() == ["25", "6", "*", "*", "*"]
    assert [note.refused for note in parse(SYSTEM, system=True, me="me") if isinstance(note, Note)] == [True] * 3
    tabs = list(parse("17 *\t* * *\troot\tcd / && run\n", system=True, me="root"))
    assert [line.command for line in tabs if isinstance(line, Entry)] == ["cd / && run"]


def test_percent_signs() -> None:
    mail, echo = entries(PERCENT)
    assert mail.command == """mail -s "it's % done" boss"""
    assert mail.given == "Hello\n\nbye\n"
    assert (echo.when, echo.given) == ("5 4 * * sun", None)


@pytest.mark.parametrize(
    ("line", "when", "command"),
    [
        ("*/5 * * * * /usr/bin/true", "*/5 * * * *", "/usr/bin/true"),
        ("0 0,12 1 */2 * /a b", "0 0,12 1 */2 *", "/a b"),
        ("@hourly cd /x && ./y", "@hourly", "cd /x && ./y"),
        ("0 22 * * 1-5  A=1 B=2 run", "0 22 * * 1-5", "A=1 B=2 run"),
        ("  23 0-23/2 * * *  echo x", "23 0-23/2 * * *", "echo x"),
        ("0 4 8-14 * * [ $(date +\\%u) = 6 ] && x", "0 4 8-14 * *", "[ $(date +%u) = 6 ] && x"),
        ("15 14 1 * * sh -c 'a=b; echo $a'", "15 14 1 * *", "sh -c 'a=b; echo $a'"),
        ("0 0 * * * flock -n /tmp/l cmd # note", "0 0 * * *", "flock -n /tmp/l cmd # note"),
        ("@midnight\tx", "@midnight", "x"),
        ("1 2 3 4 5 caf\u00e9", "1 2 3 4 5", "caf\u00e9"),
    ],
)
def test_lines_of_many_styles(line: str, when: str, command: str) -> None:
    (entry,) = entries(line)
    assert (entry.when, entry.command) == (when, command)


@pytest.mark.parametrize("line", ["* * * *", "hello", "@daily", "@reboot x", "0 0 * * * %input"])
def test_lines_that_become_nothing(line: str) -> None:
    (note,) = notes(line)
    assert note.refused


def test_zones_and_names() -> None:
    first, second = entries("TZ=Europe/Oslo\n0 1 * * * a\nCRON_TZ=Asia/Tokyo\n0 2 * * * b\n")
    assert (first.zone, second.zone) == (None, "Asia/Tokyo")
    assert first.variables == {"TZ": "Europe/Oslo"}
    assert name_of("a", {"a", "a-line-3", "a-2"}, 3) == "a-3"
    assert name_of("/usr/bin/backup --all", set(), 3) == "backup"
    assert name_of("A=1 ./run.sh", {"run.sh"}, 3) == "run.sh-line-3"
    assert name_of("7z a", set(), 3) == "job-7z"


def test_a_crontab_is_imported_line_by_line(cli: Cli) -> None:
    home = f"HOME={cli.cwd}\n"
    (cli.cwd / "tab").write_text(home + DEBIAN + "* * * * * cat > out%one%two\n99 * * * * x\n0 2 31 * * y\n")
    dry = cli("schedule", "import", "--dry-run", "tab", code=1)
    assert dry.stdout.split() == ["tar", "clean", "cat", "y"]
    assert cli.queue.schedules.all() == []
    done = cli("schedule", "import", "tab", code=1)
    assert "4 lines became a schedule, 2 not imported" in done.stderr
    assert "line 11: not imported: @reboot has no time" in done.stderr
    assert "line 13: not imported: '99' is not a minute" in done.stderr
    assert "line 14: day 31 is not in every month" in done.stderr
    found = cli.queue.schedules.get("tar")
    assert found.command == ("/bin/bash", "-c", "tar -zcf /var/backups/home.tgz /home/")
    assert cli.queue.store.load_environment(found.spec.env)["PATH"] == "/usr/local/bin:/usr/bin:/bin"
    cli("schedule", "run", "cat")
    cli("worker", "--drain")
    assert (cli.cwd / "out").read_text() == "one\ntwo\n"
    again = cli("schedule", "import", "-", stdin=f"{home}0 5 * * * tar x\n")
    assert again.stdout == "tar-line-2\n"
    twice = cli("schedule", "import", "tab", code=1)
    assert twice.stdout == ""
    assert "line 9: schedule tar is that already" in twice.stderr


CRONTABS = Path(__file__).parents[1] / "data" / "crontabs"


def test_twenty_crontabs_of_different_styles(cli: Cli) -> None:
    """What was understood, what was refused and why, as the file beside them says."""
    said = []
    (cli.cwd / "home").mkdir()
    for path in sorted(CRONTABS.iterdir()):
        words = ["--system"] if "system" in path.name else []
        text = path.read_bytes().decode().replace("root\t", f"{user()}\t").replace(" root ", f" {user()} ")
        done = cli("schedule", "import", *words, "--dry-run", "-", stdin=text, code=None)
        said.append(f"== {path.name}: exit {done.returncode}\n{done.stderr}")
    expected = CRONTABS.with_suffix(".expected")
    text = (
        "\n".join(said)
        .replace("would run as root", "would run as ME")
        .replace(f"would run as {user()}", "would run as ME")
    )
    assert len(said) == 20
    assert text == expected.read_text(encoding="utf-8")
