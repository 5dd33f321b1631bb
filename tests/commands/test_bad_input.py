"""Bad input and bad conditions: one clear sentence, the right exit code, no lost job, no traceback."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobq.api import Queue
from jobq.errors import UsageError
from jobq.job import State
from tests.conftest import Cli

ROOT = os.geteuid() == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["add"], "no command is given"),
        (["add", ""], "the command is empty"),
        (["add", "  "], "the command is empty"),
        (["add", "--retries", "-1", "true"], "--retries: '-1'"),
        (["add", "--retries", "many", "true"], "--retries: 'many'"),
        (["add", "--timeout", "soon", "true"], "'soon' is not a duration"),
        (["add", "--timeout", "0", "true"], "no time at all"),
        (["add", "--priority", "urgent", "true"], "--priority: 'urgent'"),
        (["add", "--name", "7", "true"], "'7' can't be a name"),
        (["add", "--name", "3-7", "true"], "can't be a name"),
        (["add", "--name", "@x", "true"], "can't be a name"),
        (["add", "--name", "a\nb", "true"], "can't be a name"),
        (["add", "--queue", "", "true"], "can't be a name"),
        (["add", "--env", "=x", "true"], "not a variable"),
        (["add", "--env", "NOT_SET_ANYWHERE", "true"], "not set here"),
        (["add", "--cwd", "missing", "true"], "does not exist"),
        (["add", "--cwd", "", "true"], "--cwd: '' can't be a path"),
        (["add", "--stdin=", "true"], "--stdin: '' can't be a path"),
        (["add", "--env-file", "", "true"], "--env-file: '' can't be a path"),
        (["edit", "1", "--cwd", ""], "--cwd: '' can't be a path"),
        (["add", "--nonsense", "true"], "--nonsense"),
        (["nonsense"], "nonsense"),
        (["cancel"], "no job is given"),
        (["worker", "-j", "0"], "-j"),
        (["wait", "--timeout", "x"], "not a duration"),
    ],
)
def test_usage_errors_exit_2_and_name_the_thing(cli: Cli, words: list[str], says: str) -> None:
    cli("add", "true")
    cli("add", "true")
    done = cli(*words, code=2)
    assert says in done.stderr
    assert done.stdout == ""
    assert len(cli.queue.jobs()) == 2


@pytest.mark.parametrize("words", ["init", "report", "export jobs", "config set queue night --project"])
def test_a_directory_that_is_gone_is_named(cli: Cli, words: str) -> None:
    cli("add", "true")
    gone = cli.cwd / "gone"
    gone.mkdir()
    lost = 'cd "$0" && rmdir "$0" && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", lost, gone, sys.executable, "-m", "jobq", *words.split()],
        env=cli.env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: the directory you are in does not exist any more\nhint: cd somewhere\n"


def test_a_word_that_is_too_long_for_a_program_is_refused(cli: Cli) -> None:
    done = cli("add", "--from", "-", stdin=f"true\necho {'x' * 200_000}\n", code=2)
    assert "line 2: word 1 of the command is 200005 bytes long" in done.stderr
    assert cli.queue.jobs() == []


def test_a_name_never_becomes_a_path(cli: Cli, tmp_path: Path) -> None:
    for name in ("../../x", "/etc/passwd", "CON", "a" * 128):
        cli("add", "--name", name, "echo $JOBQ_JOB_NAME")
    cli("worker", "--drain")
    assert cli("log", "../../x").stdout == "../../x\n"
    assert {path.name for path in tmp_path.iterdir()} <= {"store", "home", "state"}


@pytest.mark.parametrize(
    "asked",
    [
        {"priority": 1.5},
        {"priority": True},
        {"retries": "3"},
        {"retries": 10**6},
        {"grace": None},
        {"timeout": float("inf")},
        {"timeout": float("nan")},
        {"timeout": -1},
        {"queue": "q" * 200},
        {"name": "@x"},
    ],
)
def test_the_python_api_refuses_bad_options_too(cli: Cli, asked: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        cli.queue.add("true", **asked)  # type: ignore[arg-type]
    assert cli.queue.jobs() == []


def test_commands_above_the_size_limit_are_refused(cli: Cli) -> None:
    for words in (["prog", *["日" * 43_000] * 5], ["prog", *["\x01" * 130_000] * 3]):
        with pytest.raises(UsageError, match="the limit"):
            cli.queue.add(words)
    cli.queue.add(["prog", *["日" * 40_000] * 4])
    assert len(cli.queue.jobs()) == 1


def test_a_directory_that_is_no_store_is_left_alone(cli: Cli) -> None:
    cli.store.mkdir(mode=0o700)
    (cli.store / "thesis.txt").write_text("mine")
    assert "not a jobq store" in cli("add", "true", code=77).stderr
    assert [path.name for path in cli.store.iterdir()] == ["thesis.txt"]
    (cli.store / "thesis.txt").unlink()


def test_a_store_that_others_can_write_to_is_refused(cli: Cli) -> None:
    cli("add", "true")
    cli.store.chmod(0o777)
    assert f"chmod 700 {cli.store}" in cli("list", code=77).stderr
    cli.store.chmod(0o700)


def test_a_store_path_that_is_a_link_or_a_file_is_refused(cli: Cli, tmp_path: Path) -> None:
    cli("add", "true")
    (tmp_path / "link").symlink_to(cli.store)
    assert "symbolic link" in cli("--store", str(tmp_path / "link"), "list", code=77).stderr
    assert "can't use" in cli("--store", "/dev/null", "list", code=77).stderr


@pytest.mark.parametrize("name", ["journal.jsonl", "journal.hint", "store.lock"])
@pytest.mark.parametrize("plant", ["symlink", "hard link", "fifo", "directory"])
def test_a_link_fifo_or_folder_in_place_of_a_store_file_is_never_used(
    cli: Cli, tmp_path: Path, name: str, plant: str
) -> None:
    cli("add", "true")
    path, kept, victim = cli.store / name, tmp_path / "kept", tmp_path / "victim"
    shutil.copy2(path, kept)
    victim.write_bytes(path.read_bytes())
    path.unlink()
    match plant:
        case "symlink":
            path.symlink_to(victim)
        case "hard link":
            path.hardlink_to(victim)
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
    before = victim.read_bytes()
    done = cli("add", "true", code=77)
    assert name in done.stderr
    assert victim.read_bytes() == before
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink()
    shutil.move(kept, path)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
def test_the_store_is_private_whatever_the_umask(cli: Cli, mask: int) -> None:
    old = os.umask(mask)
    try:
        cli("--store", str(cli.store / "deep" / "store"), "run", "true")
    finally:
        os.umask(old)
    for path in [cli.store, *cli.store.rglob("*")]:
        assert path.lstat().st_mode & 0o077 == 0, path
    shutil.rmtree(cli.store)


def test_secrets_stay_in_the_environment_files(cli: Cli) -> None:
    secret = "hunter2-and-more"
    cli("add", "--env", f"API_TOKEN={secret}", "echo $API_TOKEN | tr a-z A-Z")
    cli("worker", "--drain")
    assert cli("log").stdout == secret.upper() + "\n"
    for words in (["list", "--json"], ["show"], ["show", "--json"], ["list"], ["doctor"], []):
        assert secret not in cli(*words).stdout
    holders = {
        path.parent.name for path in cli.store.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
    }
    assert holders == {"env"}


def test_a_full_disk_refuses_an_add_and_keeps_what_is_there(cli: Cli) -> None:
    cli("add", "true")
    size = (cli.store / "journal.jsonl").stat().st_size
    full = limited(
        cli, size + 100, "add", "echo this does not fit on the disk any more, it really does not, no no no no"
    )
    assert full.returncode == 74
    assert "not saved" in full.stderr
    assert full.stdout == ""
    assert (cli.store / "journal.jsonl").stat().st_size == size
    assert cli.id("true") == 2


def limited(cli: Cli, bytes_: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Run jobq with a limit on the size of files: writes beyond it fail as on a full disk, but with EFBIG."""
    return subprocess.run(
        [sys.executable, "-m", "jobq", *words],
        capture_output=True,
        text=True,
        env={**cli.env, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=cli.cwd,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_)),
    )


@pytest.mark.skipif(not ROOT, reason="mounting a tmpfs needs root")
def test_every_add_on_a_full_disk_is_saved_or_refused(cli: Cli) -> None:
    cli.store.mkdir(mode=0o700)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "none", cli.store], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        acknowledged = []
        for n in range(40):
            done = cli("add", f"echo {n}; : {'x' * 20_000}", code=None)
            if done.returncode == 0:
                acknowledged.append(int(done.stdout))
            else:
                assert (done.returncode, done.stdout) == (74, "")
        assert 0 < len(acknowledged) < 40
        assert [job.id for job in cli.queue.jobs()] == acknowledged
        cli("list")
        cli("doctor")
    finally:
        subprocess.run(["umount", "--lazy", cli.store], check=True)


@pytest.mark.skipif(not ROOT, reason="becoming another user needs root")
def test_a_store_of_another_user_exits_77(cli: Cli, tmp_path: Path) -> None:
    cli("add", "true")
    os.chown(cli.store, 65534, 65534)
    assert "belongs to user 65534" in cli("list", code=77).stderr
    os.chown(cli.store, 0, 0)


@pytest.mark.parametrize("how", ["closed", "full", "broken"])
def test_the_job_is_added_once_even_if_its_id_can_not_be_printed(cli: Cli, how: str) -> None:
    if how == "closed":
        command = 'exec "$0" -m jobq add true >&-'
    elif how == "full":
        command = 'exec "$0" -m jobq add true >/dev/full'
    else:
        command = '"$0" -m jobq add true | head -0'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable], env=cli.env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert len(cli.queue.jobs()) == 1


def test_without_a_home_the_error_names_the_option_store(cli: Cli) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": "/proc/nowhere", "XDG_STATE_HOME": "/proc/nowhere"}
    done = subprocess.run(
        [sys.executable, "-m", "jobq", "add", "true"], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 77
    assert "--store" in done.stderr


def test_a_forked_process_has_its_own_lock(cli: Cli) -> None:
    queue = Queue(str(cli.store))
    queue.add("true")
    children = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            for _ in range(10):
                queue.add("true")
            os._exit(0)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
    assert [job.id for job in cli.queue.jobs()] == list(range(1, 42))


ON_NFS = """
import os, sys
from jobq.__main__ import main
from jobq.store import place
place.filesystem = lambda path: "nfs4"
if os.environ.get("ELSEWHERE"):
    ours = os.uname()
    os.uname = lambda: type(ours)((ours[0], "elsewhere", *ours[2:]))
main()
"""


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_store_on_a_network_filesystem_is_for_the_machine_that_made_it(cli: Cli, elsewhere: bool) -> None:
    """A simulation: the type of the filesystem and the name of the machine are replaced."""

    def on_nfs(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", ON_NFS, *words]
        return subprocess.run(command, env=cli.env | env, capture_output=True, text=True, timeout=60, check=False)

    assert on_nfs("add", "true", env={"ELSEWHERE": "1"} if elsewhere else {}).returncode == 0
    done = on_nfs("worker", "--drain", "-j", "1", env={})
    assert "network filesystem (nfs4)" in done.stderr
    if elsewhere:
        assert done.returncode == 77
        assert "made on elsewhere" in done.stderr
        assert [job.state for job in cli.queue.jobs()] == [State.QUEUED]
    else:
        assert done.returncode == 0
        assert [job.state for job in cli.queue.finished()] == [State.SUCCEEDED]
