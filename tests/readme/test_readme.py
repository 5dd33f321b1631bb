"""The README stays true: every block runs and prints what it says, and every command and exit code is listed."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jobq import errors
from jobq.cli import ELSEWHERE, MODULES, app_for, translated
from jobq.job import State
from jobq.options.request import JobOptions
from jobq.options.table import OPTIONS
from tests.conftest import Cli, wait_until
from tests.faults.catalogue import CASES, COVERED
from tests.helpers.terminal import Terminal

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COLUMNS = 120  # of the terminal in which the blocks of commands are run
VARIABLE = [  # parts of a screen that differ from run to run
    (re.compile(r"\d+\.\d+ s\b"), "# s"),
    (re.compile(r"\d+ a minute"), "# a minute"),
    (re.compile(r"\bnow\b|\b\d+ s ago\b"), "# ago"),
    (re.compile(r"about \w+( s)? left|time left: \?"), "about # left"),
    (re.compile(r" {2,}"), " "),
    (re.compile(r"(?m)^ | $"), ""),
]


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [block for its_language, block in found if its_language == language]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which `jobq` is the one under test."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "jobq").write_text(f'#!/bin/sh\nexec {sys.executable} -m jobq "$@"\n')
    (bin_ / "jobq").chmod(0o755)
    return f"{bin_}:{os.environ['PATH']}"


@pytest.mark.parametrize("block", blocks("sh"))
def test_every_shell_block_runs(cli: Cli, path: str, block: str) -> None:
    (cli.cwd / "home").mkdir()
    if "jobq show @" in block:
        cli("add", "true")
    done = subprocess.run(
        ["sh", "-e"],
        input=block,
        env=cli.env | {"PATH": path},
        cwd=cli.cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (block, done.stdout, done.stderr)


def fixed(screen: str) -> str:
    """Return the text of a screen without the parts that differ from run to run."""
    for pattern, instead in VARIABLE:
        screen = pattern.sub(instead, screen)
    return screen.strip()


def typed(block: str) -> list[str]:
    """Return the commands of a block: the lines that start with a prompt."""
    return [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]


def terminal_for(cli: Cli, path: str, commands: list[str]) -> Terminal:
    """Return a terminal in which a shell prints and runs these commands."""
    cli.env = {name: value for name, value in cli.env.items() if name != "COLUMNS"} | {"PATH": path}
    script = "\n".join(f"printf '%s\\n' {shlex.quote(f'$ {command}')}\n{command}" for command in commands)
    return Terminal(cli, COLUMNS, "-c", script, program=("/bin/sh",))


@pytest.mark.parametrize("block", blocks("console"), ids=lambda block: typed(block)[-1])
def test_every_screen_is_what_a_terminal_shows(cli: Cli, path: str, block: str) -> None:
    terminal = terminal_for(cli, path, typed(block))
    terminal.end()
    assert fixed(terminal.text()) == fixed(block), terminal.text()


def test_the_first_picture_has_the_form_that_a_worker_draws(cli: Cli, path: str) -> None:
    (picture,) = (block for block in blocks("") if "photos" in block)
    photos = cli.cwd / "photos"
    photos.mkdir()
    for number in range(1, 201):
        (photos / f"{number:03}.raw").touch()
    gzip = cli.cwd / "bin" / "gzip"
    gzip.write_text("#!/bin/sh\n[ $1 = -9 ] && exec sleep 1\nexit 1\n")
    gzip.chmod(0o755)

    def form(screen: str) -> list[str]:
        """Return the lines without numbers, and those that are alike and follow each other as one."""
        lines = re.sub(r"\d+", "#", fixed(screen)).splitlines()
        return [line for line, before in zip(lines, ["", *lines], strict=False) if line != before]

    terminal = terminal_for(cli, path, typed(picture))
    wait_until(lambda: form(terminal.text()) == form(picture))
    terminal.type(b"\x03\x03")
    terminal.end()


@pytest.mark.parametrize("block", [*blocks("yaml"), *blocks("make")])
def test_every_pipeline_runs(cli: Cli, path: str, block: str) -> None:
    (cli.cwd / "checks.txt").write_text("true\ntest -e checks.txt\n")
    (command,) = re.findall(r"jobq run .*", block)
    done = subprocess.run(
        ["sh", "-c", command], env=cli.env | {"PATH": path}, cwd=cli.cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "2 of 2 succeeded" in done.stderr
    assert (cli.cwd / "report.xml").exists() == ("--junit" in command)


def test_the_commands_for_people_from_other_tools_exist() -> None:
    tables = README.partition("### Come from another tool")[2].partition("\n## ")[0]
    known = (ROOT / "completions" / "jobq.bash").read_text()
    cells = [row.split(" | ")[1] for row in tables.splitlines() if row.startswith("| `")]
    commands = [shlex.split(command) for cell in cells for command in re.findall(r"`(jobq.*?)`", cell)]
    assert len(commands) > 30
    for words in commands:
        name = " ".join(words[1:3]) if " ".join(words[1:3]) in MODULES else "".join(words[1:2])
        assert not name or name in MODULES, words
        for flag in re.findall(r"(?<!\S)--?[a-z-]+\b", " ".join(words)):
            assert flag in known, words


def crontabs() -> list[list[str]]:
    """Return the commands of each block of crontab lines, without their times."""
    return [[re.sub(r"^(@\w+|(\S+ +){5})\s*", "", line) for line in block.splitlines()] for block in blocks("cron")]


@pytest.mark.parametrize("commands", crontabs(), ids=len)
@pytest.mark.usefixtures("path")
def test_every_crontab_runs_the_backup(cli: Cli, commands: list[str]) -> None:
    home = cli.cwd / "home"
    jobq = (cli.cwd / "bin" / "jobq").read_text()
    for file, source in {".venv/bin/jobq": jobq, "bin/backup": "#!/bin/sh\n"}.items():
        (home / file).parent.mkdir(parents=True, exist_ok=True)
        (home / file).write_text(source)
        (home / file).chmod(0o755)
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "JOBQ_STORE": str(cli.store)}
    environment |= {name: value for name, value in os.environ.items() if name == "PYTHONPATH"}
    started = [subprocess.Popen(["/bin/sh", "-c", command], env=environment, cwd=home) for command in commands]
    try:
        wait_until(lambda: cli.queue.exists() and [job.state for job in cli.queue.finished()] == [State.SUCCEEDED])
    finally:
        for worker in cli.queue.workers.all() if len(commands) > 1 else []:  # one that was started for good
            os.kill(worker.pid, signal.SIGTERM)
        codes = [process.wait(20) for process in started]
    assert codes == [0] * len(commands)


def test_the_words_of_other_tools_run_what_the_readme_says() -> None:
    table = README.partition("| you type | jobq runs |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`.+`) \| (`.+`) \|$", table, re.MULTILINE)
    told = {word: target.strip("`") for words, target in rows for word in re.findall(r"`([^`]+)`", words)}
    for words, target in told.items():
        assert " ".join(["jobq", *translated(words.split()[1:])]) == target
    assert {f"jobq {word}" for word in ELSEWHERE} <= told.keys()


@pytest.mark.parametrize("block", blocks("python"))
def test_every_python_block_runs(cli: Cli, block: str) -> None:
    (cli.cwd / "block.py").write_text(block)
    done = subprocess.run(
        [sys.executable, "block.py"], cwd=cli.cwd, env=cli.env, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == re.findall(r"# prints (.*)$", block, re.MULTILINE)
    cli("worker", "--drain")
    assert [job.state for job in cli.queue.finished()] == [State.SUCCEEDED] * len(list(cli.queue.finished()))


def test_python_has_every_option_of_the_command_line() -> None:
    assert JobOptions.__annotations__.keys() == {ask.name for ask in OPTIONS}


def test_the_readme_lists_every_command_and_exit_code() -> None:
    names = {command.name for command in app_for([]).registered_commands}
    table = README.partition("| command | does |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `jobq (\w+(?: \w+)?)`", table, re.MULTILINE)) == names
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.JobqError)
    }
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    assert codes <= told


def test_every_promise_names_cases_that_exist() -> None:
    table = README.partition("| promise | tried by case |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| .+ \| ([\da-eS, ]+) \|$", table, re.MULTILINE)
    assert len(rows) == len(table.splitlines()) > 10
    known = {case.number for case in CASES} | {case.number for case in COVERED}
    assert {number for row in rows for number in row.split(", ")} - known == set()


def test_the_top_folder_holds_only_the_agreed_files() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    visible = {name.split("/")[0] for name in tracked if name and not name.startswith(".")}
    assert visible <= {"pyproject.toml", "jobq", "tests", "completions", "README.md"}


def test_the_package_has_the_license_that_it_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [(ROOT / name).read_text(encoding="utf-8")[:3] for name in project["license-files"]] == [project["license"]]
