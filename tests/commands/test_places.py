"""The place of the store, the number of CPUs and the Python of calls: odd homes, containers, temporary environments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobq.cpus import cpu_quota, usable_cpus
from jobq.environ import interpreter
from jobq.errors import StoreForbidden
from jobq.settings.places import store_path
from tests.conftest import Cli

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, where XDG_STATE_HOME counts")
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NOBODY = 65534


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory, and no variable that names the place of the store."""
    monkeypatch.delenv("JOBQ_STORE")
    monkeypatch.delenv("XDG_STATE_HOME")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@LINUX
@pytest.mark.parametrize("state", ["", " ", "state", "./state", "~/state"])
def test_a_state_directory_that_is_not_absolute_is_ignored(
    at_home: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", state)
    assert store_path() == f"{at_home}/.local/state/jobq"


@LINUX
@pytest.mark.parametrize("home", ["", "home", "./home", None])
def test_an_unusable_home_variable_is_replaced_by_the_password_entry(
    at_home: Path, monkeypatch: pytest.MonkeyPatch, home: str | None
) -> None:
    import pwd  # noqa: PLC0415

    if home is None:
        monkeypatch.delenv("HOME")
    else:
        monkeypatch.setenv("HOME", home)
    known = pwd.getpwuid(os.geteuid())
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: pwd.struct_passwd([*known[:5], str(at_home), known[6]]))
    assert store_path() == f"{at_home}/.local/state/jobq"
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: pwd.struct_passwd([*known[:5], "/nonexistent", known[6]]))
    with pytest.raises(StoreForbidden, match="your home directory /nonexistent does not exist"):
        store_path()


def test_a_missing_home_is_not_created(cli: Cli) -> None:
    cli.env |= {"HOME": "/nonexistent", "JOBQ_STORE": "", "XDG_STATE_HOME": ""}
    for words in (["add", "true"], ["list"], ["run", "true"]):
        done = cli(*words, code=77)
        assert "/nonexistent does not exist" in done.stderr
        assert "set JOBQ_STORE to a directory you may write" in done.stderr
    assert not os.path.exists("/nonexistent")


@AS_ROOT
@pytest.mark.parametrize("has_store", [False, True])
@pytest.mark.parametrize("by", ["HOME", "XDG_STATE_HOME"])
def test_root_leaves_the_home_of_another_user_alone(cli: Cli, tmp_path: Path, has_store: bool, by: str) -> None:
    place = tmp_path / "theirs"
    store = place / (".local/state/jobq" if by == "HOME" else "jobq")
    (store if has_store else place).mkdir(parents=True, mode=0o700)
    for path in [place, *place.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    cli.env |= {"JOBQ_STORE": "", "XDG_STATE_HOME": "", by: str(place)}
    before = {path: path.stat().st_mtime_ns for path in [place, *place.rglob("*")]}
    for words in (["add", "true"], ["list"], ["run", "true"], ["worker", "--drain"]):
        done = cli(*words, code=77)
        assert f"belongs to user {NOBODY}" in done.stderr
        assert "sudo -H" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in [place, *place.rglob("*")]} == before
    cli.env["JOBQ_STORE"] = str(place / "named")  # a store that is named is used
    cli("run", "true")


@AS_ROOT
def test_a_place_that_can_not_be_written_is_reported(cli: Cli, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents:
        if folder.stat().st_mode & 0o001 == 0:
            pytest.skip(f"nobody can't reach {tmp_path}")
    cli.env |= {"JOBQ_STORE": str(locked / "store")}
    done = subprocess.run(
        [sys.executable, "-m", "jobq", "add", "true"], env=cli.env, cwd="/", capture_output=True, text=True,
        user=NOBODY, check=False,
    )  # fmt: skip
    if "No module named" in done.stderr or "ermission denied" in done.stderr.partition("jobq:")[0]:
        pytest.skip("nobody can't read this Python")
    assert done.returncode == 77, done.stderr
    assert "set JOBQ_STORE to a directory you may write" in done.stderr


# -- CPUs --------------------------------------------------------------------------------------------


def process(tmp_path: Path, groups: str, mounts: str) -> str:
    """Make a /proc/self with these groups and mounts, all below `tmp_path`; return its path."""
    proc = tmp_path / "proc"
    proc.mkdir(exist_ok=True)
    (proc / "cgroup").write_text(groups)
    (proc / "mounts").write_text(mounts.replace("/sys", f"{tmp_path}/sys"))
    return str(proc)


def group(tmp_path: Path, path: str, **files: str) -> None:
    folder = tmp_path / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("cpu_", "cpu.")).write_text(content + "\n")


def test_the_quota_of_cgroup_version_2_is_the_smallest_of_all_parent_groups(tmp_path: Path) -> None:
    proc = process(tmp_path, "0::/a/b\n", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n")
    assert cpu_quota(proc) is None
    group(tmp_path, "sys/fs/cgroup/a/b", cpu_max="max 100000")
    assert cpu_quota(proc) is None
    group(tmp_path, "sys/fs/cgroup/a", cpu_max="150000 100000")
    assert cpu_quota(proc) == 1.5
    group(tmp_path, "sys/fs/cgroup/a/b", cpu_max="50000 100000")
    assert cpu_quota(proc) == 0.5


def test_in_a_container_the_group_may_be_the_root_of_the_mount(tmp_path: Path) -> None:
    for name in ("/", "/docker/0123"):
        proc = process(tmp_path, f"0::{name}\n", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n")
        group(tmp_path, "sys/fs/cgroup", cpu_max="200000 100000")
        assert cpu_quota(proc) == 2.0


@pytest.mark.parametrize("controllers", ["cpu,cpuacct", "cpu"])
def test_the_quota_of_cgroup_version_1_is_read(tmp_path: Path, controllers: str) -> None:
    mounts = f"x /sys/other tmpfs rw 0 0\ncgroup /sys/fs/cgroup/{controllers} cgroup rw,{controllers} 0 0\n"
    proc = process(tmp_path, f"4:cpuset:/y\n2:{controllers}:/docker/1\n0::/\n", mounts)
    group(tmp_path, f"sys/fs/cgroup/{controllers}", cpu_cfs_quota_us="-1", cpu_cfs_period_us="100000")
    assert cpu_quota(proc) is None
    group(tmp_path, f"sys/fs/cgroup/{controllers}/docker/1", cpu_cfs_quota_us="250000", cpu_cfs_period_us="100000")
    assert cpu_quota(proc) == 2.5


@pytest.mark.parametrize("content", ["", "max", "junk junk", "0 0", "1", "-1 100000", "\0"])
def test_an_invalid_quota_limits_nothing(tmp_path: Path, content: str) -> None:
    proc = process(tmp_path, "0::/a\n", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\nshort\n")
    group(tmp_path, "sys/fs/cgroup/a", cpu_max=content)
    assert cpu_quota(proc) is None


@AS_ROOT
def test_a_worker_in_a_group_with_a_quota_takes_no_more_slots() -> None:
    mount = next(
        (line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()
         if line.split()[2] == "cgroup2" or (line.split()[2] == "cgroup" and "cpu" in line.split()[3].split(","))),
        None,
    )  # fmt: skip
    if mount is None or usable_cpus() < 2:
        pytest.skip("needs control groups for CPUs, and two of them")
    folder = Path(mount, f"jobq-test-{os.getpid()}")
    try:
        folder.mkdir()
        (folder / "cpu.cfs_quota_us").write_text("50000")
    except OSError:
        if folder.exists():
            folder.rmdir()
        pytest.skip("this group can't be given a quota")
    code = "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid()))\nfrom jobq.cpus import usable_cpus; print(usable_cpus())"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder / "cgroup.procs")], capture_output=True, text=True, check=False
        )
    finally:
        folder.rmdir()
    assert done.stdout == "1\n", done.stderr


# -- temporary environments --------------------------------------------------------------------------


def environment(folder: Path) -> str:
    """Make an environment there; return its Python."""
    (folder / "bin").mkdir(parents=True)
    for name in ("python", "python3"):
        (folder / "bin" / name).symlink_to(sys.executable)
    return str(folder / "bin" / "python3")


@pytest.mark.parametrize(
    "cache", ["home/.cache/uv/archive-v0/x", "uv/builds-v0/.tmpx", "home/.local/share/pipx/.cache/x", "pipx/.cache/x"]
)
def test_a_function_is_never_called_by_the_python_of_a_temporary_environment(
    cache: str, at_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under `uvx jobq call` and `pipx run jobq call`, jobq runs in an environment in a cache, the first on PATH."""
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("PIPX_HOME", str(tmp_path / "pipx"))
    passing, lasting = tmp_path / cache, tmp_path / "lasting"
    environment(passing)
    python = environment(lasting)
    monkeypatch.setattr(sys, "prefix", str(passing))
    monkeypatch.setenv("PATH", f"{passing}/bin:{lasting}/bin")
    assert interpreter() == python
    monkeypatch.setenv("VIRTUAL_ENV", str(passing))
    assert interpreter() == python
    monkeypatch.setenv("PATH", f"{passing}/bin")
    assert interpreter() == os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]
    monkeypatch.setenv("VIRTUAL_ENV", str(lasting))
    assert interpreter() == f"{lasting}/bin/python"
    assert interpreter(f"{passing}/bin/python") == f"{passing}/bin/python"  # a Python that is named is used
