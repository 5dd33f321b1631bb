"""The layers, and the modules that may use each power, checked in the source."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Cli

PACKAGE = Path(__file__).parent.parent / "jobq"
LAYERS = [
    ["version", "exit_codes", "startup", "presets", "typed"],
    ["errors"],
    ["system", "sealed", "durations", "cpus"],
    ["command"],
    ["moment"],
    ["job", "queues"],
    ["schedules"],
    ["rules"],
    ["options"],
    ["clock", "environ"],
    ["settings"],
    ["store"],
    ["supervisor", "python"],
    ["engine"],
    ["checks"],
    ["intake"],
    ["worker"],
    ["waiting"],
    ["looking", "keeping", "calls"],
    ["changes", "adding", "tables", "workers", "services", "copies"],
    ["embedded"],
    ["specs"],
    ["scheduling"],
    ["api"],
    ["testing"],
    ["views"],
    ["commands"],
    ["cli"],
    ["__init__", "__main__"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
POWERS = {
    "posix_spawn": {"supervisor/spawn.py"},
    "killpg": {"python/checking.py", "supervisor/tree.py"},
    "pidfd_send_signal": {"supervisor/tree.py", "engine/local/evidence.py"},
    "Popen": {"commands/inside_job.py", "embedded.py", "engine/local/slots.py", "python/checking.py"},
    "fork": {"worker/background.py", "supervisor/terminal.py"},
    "environ": {
        "environ.py",
        "python/host.py",
        "python/traces.py",
        "python/inside.py",
        "presets.py",
        "testing.py",
        "startup.py",
        "views/console.py",
        "supervisor/terminal.py",
    },
    "fdatasync": {"system.py"},
    "flock": {"python/inside.py", "store/lock.py", "system.py"},
    "pwrite": {"python/batch.py", "store/folder.py", "store/hint.py", "supervisor/calls.py"},
}
IMPORTS = {
    "typer": ("commands/", "cli.py"),
    "rich": ("views/",),
    "textual": ("views/top.py", "views/job_page.py"),
    "platformdirs": ("environ.py",),
    "subprocess": (
        "commands/editor.py",
        "commands/inside_job.py",
        "embedded.py",
        "engine/",
        "presets.py",
        "python/checking.py",
        "services.py",
        "testing.py",
    ),
    "cronsim": ("rules/rhythm.py",),
    "fcntl": (
        "python/batch.py",
        "python/inside.py",
        "store/lock.py",
        "supervisor/filters.py",
        "supervisor/terminal.py",
        "system.py",
    ),
    "ctypes": ("python/traces.py", "supervisor/tree.py", "system.py"),
}
WRITERS = (
    "settings/",
    "store/",
    "supervisor/",
    "python/child.py",
    "python/inside.py",
    "python/batch.py",
    "python/host.py",
    "testing.py",
    "engine/local/batches.py",
    "engine/local/slots.py",
    "system.py",
    "commands/editor.py",
    "presets.py",  # a terminal
    "views/trace.py",
    "services.py",
    "commands/files.py",
)  # of files
WRITING = {
    *(
        "unlink",
        "rename",
        "replace",
        "link",
        "symlink",
        "truncate",
        "ftruncate",
        "mkdir",
        "makedirs",
        "mkdtemp",
        "rmdir",
    ),
    *(
        "mkfifo",
        "mkstemp",
        "chmod",
        "fchmod",
        "utime",
        "rmtree",
        "write_text",
        "write_bytes",
        "touch",
        "posix_fallocate",
    ),
}
WALL_CLOCK = {
    "clock.py",
    "options/instants.py",
    "commands/quick_add.py",
    "engine/local/evidence.py",
    "store/registration.py",
    "supervisor/batch.py",
    "supervisor/supervisor.py",
}
MODULE_LINES = 300
ONE_SCRIPT = {
    "python/child.py",
    "python/inside.py",
}  # other interpreters run it by path, and each worker keeps a copy of it
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def source_of(module: str) -> str:
    return (PACKAGE / module).read_text(encoding="utf-8")


def tree_of(module: str) -> ast.Module:
    return ast.parse(source_of(module))


def imported(module: str) -> set[str]:
    """Return all modules that a file imports, at any depth, those for type checking included."""
    names = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_below(module: str) -> None:
    layer = module.removesuffix(".py").split("/")[0]
    for name in imported(module):
        parts = name.split(".")
        if parts[0] == "jobq" and len(parts) > 1 and parts[1] in RANK and parts[1] != layer:
            if layer in {"__init__", "__main__"}:
                continue
            assert RANK[parts[1]] < RANK[layer], f"{module} imports {name}"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_uses_only_the_powers_that_it_is_listed_for(module: str) -> None:
    used = {node.attr for node in ast.walk(tree_of(module)) if isinstance(node, ast.Attribute)}
    for power, places in POWERS.items():
        assert power not in used or module in places, f"{module} uses {power}"
    for library, prefixes in IMPORTS.items():
        if any(name.split(".")[0] == library for name in imported(module)):
            assert module.startswith(prefixes), f"{module} imports {library}"


def calls_of(module: str) -> list[tuple[str, str]]:
    """Return owner and name of all functions that are called as attributes, and their whole call for `open`."""
    calls = [node for node in ast.walk(tree_of(module)) if isinstance(node, ast.Call)]
    names = [(ast.unparse(c.func.value), c.func.attr) for c in calls if isinstance(c.func, ast.Attribute)]
    opens = [c for c in calls if ast.unparse(c.func) in {"open", "os.open", "io.open", "open_plain", "os.fdopen"}]
    return names + [("open", ast.unparse(call)) for call in opens]


@pytest.mark.parametrize("module", MODULES)
def test_only_the_listed_modules_write_files(module: str) -> None:
    found = {
        name
        for owner, name in calls_of(module)
        if (owner in {"os", "shutil", "tempfile"} and name in WRITING)
        or (owner == "open" and re.search(r"O_(WRONLY|RDWR|CREAT|TRUNC|APPEND)|, '(r\+|[wax])b?\+?'", name))
    }
    assert not found or module.startswith(WRITERS), f"{module} writes files: {found}"


@pytest.mark.parametrize("module", MODULES)
def test_only_the_listed_modules_read_the_wall_clock(module: str) -> None:
    clock = r"\btime\.time(_ns)?\(\)|\btime\.(localtime|gmtime|ctime)\(\)|\b(datetime|date)\.(now|utcnow|today)\("
    found = re.search(clock, source_of(module))
    assert found is None or module in WALL_CLOCK, f"{module} reads the clock: {found}"


def test_no_module_is_longer_than_a_reader_takes_in_at_once() -> None:
    lengths = {module: len(source_of(module).splitlines()) for module in MODULES}
    assert {m: n for m, n in lengths.items() if n > MODULE_LINES and m not in ONE_SCRIPT} == {}


def test_no_modules_import_each_other_in_a_circle() -> None:
    names = {name_of(module): module for module in MODULES}
    needs = {name: modules_used(module, names) - {name} for name, module in names.items()}  # directly, at first
    while True:
        reached = {name: needed.union(*(needs[other] for other in needed)) for name, needed in needs.items()}
        if reached == needs:
            break
        needs = reached
    assert [name for name, needed in needs.items() if name in needed] == []


def name_of(module: str) -> str:
    return f"jobq/{module}".removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def modules_used(module: str, names: dict[str, str]) -> set[str]:
    """Return the modules of jobq that a file imports, at any depth. A package counts if a name of its own is meant."""
    used = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            used |= {name if name in names else node.module for name in whole}
    return used & names.keys()


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("supervisor/")])
def test_a_supervisor_loads_the_standard_library_and_little_of_jobq(module: str) -> None:
    for name in imported(module):
        known = name.split(".")[0] in sys.stdlib_module_names or name.startswith("__future__")
        assert known or name.startswith(("jobq.supervisor", "jobq.system", "jobq.sealed")), f"{module} imports {name}"


def test_every_module_has_a_docstring() -> None:
    assert [module for module in MODULES if not ast.get_docstring(tree_of(module))] == []


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("jobq", {"jobq.api", "typer", "rich", "json"}),
        (
            "jobq.cli",
            {"rich", "platformdirs", "subprocess", "jobq.worker.loop", "jobq.engine.local.engine", "selectors"},
        ),
    ],
)
def test_modules_that_are_not_needed_are_not_loaded(module: str, never: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    if module == "jobq.cli":
        code = "import sys; from jobq.cli import app_for; app_for([]); print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    typers = set(
        subprocess.run(
            [sys.executable, "-c", "import sys, typer; print(*sys.modules)"], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    assert loaded & never - (typers if module == "jobq.cli" else set()) == set()


def loaded_by(cli: Cli, *words: str) -> set[str]:
    """Run jobq with these words, and return the modules that it loads."""
    command = [sys.executable, "-X", "importtime", "-m", "jobq", *words]
    told = subprocess.run(command, capture_output=True, text=True, env=cli.env, check=False).stderr
    return {line.rpartition("|")[2].strip() for line in told.splitlines() if line.startswith("import time:")}


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_is_printed_without_the_option_parser(cli: Cli, flag: str) -> None:
    assert cli(flag).stdout == cli("--store", str(cli.store), flag).stdout
    assert not loaded_by(cli, flag) & {"typer", "typing", "jobq.commands", "jobq.store"}


@pytest.mark.parametrize(
    "words", [(), ("list",), ("list", "--json"), ("list", "@"), ("show", "1"), ("log", "1"), ("completion", "bash")]
)
def test_a_command_that_only_reads_loads_nothing_that_runs_jobs_or_draws(cli: Cli, words: tuple[str, ...]) -> None:
    cli("add", "true")
    loaded = loaded_by(cli, *words)
    assert "jobq.store.reading" in loaded
    never = {
        "rich",
        "jobq.worker.loop",
        "jobq.worker.rescue",
        "jobq.engine",
        "jobq.supervisor",
        "jobq.python.child",
        "platformdirs",
    }
    assert loaded & never == set()
