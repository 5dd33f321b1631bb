"""Slow, closed and full outputs, signals that end a command, variables of Python, and locales."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobq.environ import environment
from tests.conftest import Cli, wait_until
from tests.helpers.terminal import UTF_8, Terminal

ROOT = Path(__file__).parents[2]
LOG_MAX = 64 << 10


def test_run_drops_the_part_of_its_log_that_the_reader_has_read(cli: Cli) -> None:
    """The reader keeps up while the job goes on: jobq drops the output that was read."""
    chunk = "head -c 300000 /dev/zero | tr '\\0' x; touch {0}; while ! [ -e {0}.seen ]; do sleep 0.02; done; "
    process = cli.start("run", "--log-max", "64k", chunk.format("one") + chunk.format("two"), bufsize=0)
    assert process.stdout is not None
    log = cli.store / "runs/0/1.1.log"
    for number, name in enumerate(("one", "two"), 1):
        wait_until((cli.cwd / name).exists)
        got = 0
        while got < 300_000:
            got += len(os.read(process.stdout.fileno(), 300_000 - got))
        wait_until(lambda: log.stat().st_blocks * 512 <= LOG_MAX + 8192)
        assert log.stat().st_size == number * 300_000
        (cli.cwd / f"{name}.seen").touch()
    assert process.wait(30) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_run_ends_by_the_signal_that_ended_its_jobs(cli: Cli, number: signal.Signals) -> None:
    process = cli.start("run", "touch began; exec sleep 300")
    wait_until((cli.cwd / "began").exists)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == -number
    cli("wait", "1", code=125)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("words", "waiting"),
    [
        ("wait 2", "no worker is running"),
        ("log -f 1", "said"),
        ("cancel --wait 1", "is stopping"),
        ("run 'echo said; exec sleep 300'", "said"),
    ],
)
def test_a_shell_loop_ends_with_the_interrupted_command(cli: Cli, words: str, waiting: str) -> None:
    cli("add", "trap '' TERM; echo said; while :; do sleep 0.1; done")
    worker = cli.worker("-j", "1")
    wait_until(lambda: cli("log", "1", code=None).stdout)
    if words.startswith("wait"):
        worker.kill()
        worker.wait()
        cli("add", "true")
    loop = subprocess.Popen(
        ["bash", "-c", f"for n in 1 2 3; do echo turn; {sys.executable} -m jobq {words}; done"], env=cli.env, cwd=cli.cwd,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, text=True,
    )  # fmt: skip
    assert loop.stdout is not None
    told = ""
    while waiting not in told:
        told += (line := loop.stdout.readline())
        assert line, told
    os.killpg(loop.pid, signal.SIGINT)
    rest, _ = loop.communicate(timeout=30)
    assert (loop.returncode, (told + rest).count("turn\n")) == (-signal.SIGINT, 1), told + rest
    cli("cancel", "@running")


def test_a_worker_prints_again_once_there_is_room(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk behind its stdout is full for a while."""
    from jobq.errors import OutputFailed  # noqa: PLC0415
    from jobq.views import watch  # noqa: PLC0415

    full = True
    arrived: list[str] = []
    told: list[str] = []

    def write(*lines: str) -> None:
        if full:
            raise OutputFailed("can't be written: No space left on device")
        arrived.extend(lines)

    monkeypatch.setattr(watch, "info", told.append)
    with watch.Speaker() as speaker:
        speaker.add(write, "one")
        speaker.add(write, "two")
        wait_until(lambda: speaker._written == 2)
        full = False
        speaker.add(write, "three")
    assert arrived == ["three"]
    assert told == ["stdout can't be written: No space left on device; the jobs continue"]


def test_no_file_of_the_store_takes_the_descriptor_of_a_closed_stdout(cli: Cli) -> None:
    cli("add", "true")
    for closed in (">&-", "<&- >&-", "<&- >&- 2>&-", "2>&-"):
        for words in ("add true", "worker --drain", "run 'echo x'", "cancel @queued", "list"):
            subprocess.run(
                ["sh", "-c", f'"$0" -m jobq {words} {closed}', sys.executable],
                env=cli.env, cwd=cli.cwd, check=False, capture_output=True, timeout=60,
            )  # fmt: skip
    assert "healthy" in cli("doctor").stdout


# -- modules and variables for the user's programs ---------------------------------------------------------------------

SHADOWS = [
    "typer",
    "rich",
    "selectors",
    "queue",
    "re",
    "json",
    "typing",
    "enum",
    "platformdirs",
    "shlex",
    "signal",
    "token",
]


@pytest.mark.parametrize("broken", ["x = 1\n", "raise SystemExit('shadowed')\n"])
def test_jobq_never_loads_modules_from_the_users_path(cli: Cli, broken: str) -> None:
    """jobq starts as a module, or by the launcher of older pips, in a folder that holds the user's files."""
    launcher = cli.cwd / "launcher"
    launcher.write_text(
        "import re\nimport sys\nfrom jobq.__main__ import main\n"
        "sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])\nmain()\n"
    )
    elsewhere = cli.cwd / "src"
    elsewhere.mkdir()
    for name in SHADOWS:
        (elsewhere / f"{name}.py").write_text(broken)
    started_by = [[sys.executable, "-m", "jobq"], [sys.executable, str(launcher)]]
    for command in started_by[:1] if "raise" in broken else started_by:  # else a launcher fails before it loads jobq
        for words in (["add", "true"], ["list"], ["run", "true"], ["worker", "--drain"]):
            done = subprocess.run(
                [*command, *words],
                env=cli.env | {"PYTHONPATH": f"{elsewhere}:{ROOT}"}, cwd=elsewhere, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, (command, words, done.stderr)


def test_a_module_of_the_user_that_can_not_be_asked_is_left_alone(cli: Cli) -> None:
    """Python loads a `sitecustomize` before jobq, and some put modules there that load when they are first asked."""
    (cli.cwd / "sitecustomize.py").write_text(
        "import sys, types\n"
        "class Lazy(types.ModuleType):\n"
        "    def __getattribute__(self, name):\n"
        "        raise RuntimeError(name)\n"
        "sys.modules['theirs'] = Lazy('theirs')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "jobq", "add", "true"],
        env=cli.env | {"PYTHONPATH": f"{cli.cwd}:{ROOT}"}, cwd=cli.cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


@pytest.mark.parametrize("above", [0, 1, 2])
def test_jobq_starts_in_a_folder_that_python_is_below(cli: Cli, above: int) -> None:
    """As a worker of systemd does, at home, where pyenv, uv and conda put their Pythons."""
    done = subprocess.run(
        [sys.executable, "-m", "jobq", "worker", "--drain"],
        env=cli.env | {"PYTHONPATH": str(ROOT)}, cwd=Path(os.__file__).parents[above], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_copy_that_is_found_by_pythonpath_alone_works(cli: Cli) -> None:
    site = cli.cwd / "lib"
    shutil.copytree(ROOT / "jobq", site / "jobq")
    (site / "selectors.py").write_text("x = 1\n")
    code = "import jobq, jobq.worker.loop; print(jobq.__file__)"
    command = f"import sys; sys.argv[1:] = ['--version']; import jobq.__main__; {code}"
    done = subprocess.run(
        [sys.executable, "-c", command], env=cli.env | {"PYTHONPATH": str(site)}, cwd=cli.cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == str(site / "jobq" / "__init__.py"), done.stderr


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONWARNINGS": "error"},
        {"PYTHONDEVMODE": "1"},
        {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error", "PYTHONWARNDEFAULTENCODING": "1"},
        {"PYTHONIOENCODING": "utf-16"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONUNBUFFERED": "1"},
        {"PYTHONINSPECT": "1"},
        {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(ROOT)},
        {"PYTHONSTARTUP": "/nonexistent"},
    ],
)
def test_python_variables_reach_the_job_and_do_not_affect_jobq(cli: Cli, variables: dict[str, str]) -> None:
    shown = "; ".join(f'echo "${name}"' for name in variables)
    cli.env |= {**UTF_8, **variables}
    for words in (
        ["add", shown],
        ["add", "--name", "é", "true"],
        ["list"],
        ["show"],
        ["worker", "--drain"],
        ["list", "-a"],
    ):
        done = cli(*words)
        assert "\0" not in done.stdout
        assert words[0] != "list" or "é" in done.stdout
        assert "Warning" not in done.stderr
    assert cli("log", "1").stdout.splitlines() == list(variables.values())
    assert cli("run", shown).stdout.splitlines() == list(variables.values())


# -- locales -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def latin_1(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("locales")
    if shutil.which("localedef") is None:
        pytest.skip("localedef is not installed")
    made = subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", folder / "de_DE.ISO-8859-1"], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip("the sources of the locale de_DE are not installed")
    return {"LOCPATH": str(folder), "LANG": "de_DE.ISO-8859-1"}


C_LOCALES = [
    {},
    {"LANG": "C"},
    {"LC_ALL": "C"},
    {"LC_CTYPE": "POSIX"},
    {"LC_ALL": "C", "PYTHONUTF8": "0"},
    {"LANG": "C", "PYTHONUTF8": "0"},
    {"LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    {"LANG": "xx_XX.UTF-8"},
    {"LC_CTYPE": "C.UTF-8"},
    {"PYTHONUTF8": "1", "LC_CTYPE": "C.UTF-8"},
]


@pytest.mark.parametrize("locale", [*C_LOCALES, None], ids=str)
def test_bytes_reach_the_job_in_any_locale(
    cli: Cli, locale: dict[str, str] | None, request: pytest.FixtureRequest
) -> None:
    locale = request.getfixturevalue("latin_1") if locale is None else locale
    store = os.fsencode(cli.cwd) + b"/st\xe9\xc3\xa9"
    given = {
        b"PATH": os.environb[b"PATH"],
        b"JOBQ_STORE": store,
        b"A": b"\xe9\xff",
        b"B": "☃é".encode(),
        b"\xe9": b"name",
    }
    given |= {os.fsencode(name): os.fsencode(value) for name, value in locale.items()}
    (cli.cwd / "printenv.py").write_text(
        "import os\nopen('seen', 'wb').write(open('/proc/self/environ', 'rb').read())\n"
    )
    words = [b"\xe9", "☃".encode(), b"\x1b", b"-e"]

    def jobq(*words: bytes) -> bytes:
        command = [os.fsencode(sys.executable), b"-m", b"jobq", *words]
        done = subprocess.run(command, env=given, cwd=cli.cwd, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    assert jobq(b"run", b"-e", b"C=\xe9", b"--", b"printf", b"%s\\n", *words).split(b"\n")[:-1] == words
    jobq(b"run", b"-e", b"C=\xe9", b"--", os.fsencode(sys.executable), b"-I", b"printenv.py")
    seen = dict(pair.split(b"=", 1) for pair in (cli.cwd / "seen").read_bytes().split(b"\0") if pair)
    assert {
        name: value for name, value in seen.items() if name != b"PWD" and not name.startswith(b"JOBQ_JOB_")
    } == given | {b"C": b"\xe9"}
    jobq(b"add", b"--", b"echo", b"x" * 300, *words)
    jobq(b"add", b"--name", b"full", b"--", b"true")
    jobq(b"worker", b"--drain")
    for look in ([b"list"], [b"list", b"-a"], [b"show"], [], [b"log"], [b"list", b"--json"]):
        jobq(*look)
    assert len(list(Path(os.fsdecode(store), "env").iterdir())) == 2  # the quick add and the full one capture the same


def test_a_terminal_that_lacks_characters_shows_others_of_the_same_width(cli: Cli) -> None:
    cli("add", "echo é…· " + "x" * 200)
    for words in (["list"], [], ["worker", "--drain"]):
        terminal = Terminal(cli, 80, *words, locale={"LC_ALL": "C", "PYTHONUTF8": "0"})
        assert terminal.end() == 0
        assert terminal.text().isascii()
        assert "xxx~" in terminal.text()
        assert max(map(len, terminal.text().splitlines())) <= 80


def test_a_variable_without_a_name_is_not_given_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some programs for Windows leave such ones ("=C:=C:\\"); no job could start with it."""
    monkeypatch.setattr(os, "environ", {"": "C:=", "A": "1"})
    assert environment() == {"A": "1"}


def test_the_environment_is_decoded_as_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEN", os.fsdecode("é".encode()))
    assert environment()["SEEN"] == "é"
