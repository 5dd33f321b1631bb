"""The layers, and the modules that may use each power, checked in the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Cli

PACKAGE = Path(__file__).parent.parent / "jobq"
LAYERS = [
    ["version", "exit_codes", "startup"],
    ["errors"],
    ["system", "sealed"],
    ["command"],
    ["job"],
    ["rules"],
    ["options"],
    ["clock", "settings"],
    ["store"],
    ["supervisor", "python"],
    ["engine"],
    ["worker"],
    ["waiting"],
    ["changes"],
    ["api"],
    ["views"],
    ["commands"],
    ["cli"],
    ["__init__", "__main__"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
POWERS = {
    "posix_spawn": {"supervisor/spawn.py"},
    "killpg": {"supervisor/tree.py"},
    "pidfd_send_signal": {"supervisor/tree.py", "engine/local/evidence.py"},
    "Popen": {"engine/local/slots.py"},
    "environ": {"settings.py", "startup.py", "views/console.py"},
    "fdatasync": {"system.py"},
    "flock": {"store/lock.py", "system.py"},
    "pwrite": {"store/folder.py", "store/hint.py"},
}
IMPORTS = {
    "typer": ("commands/", "cli.py"),
    "rich": ("views/",),
    "platformdirs": ("settings.py",),
    "subprocess": ("engine/",),
    "fcntl": ("store/lock.py", "supervisor/filters.py", "system.py"),
    "ctypes": ("supervisor/tree.py", "system.py"),
}
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def tree_of(module: str) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text(encoding="utf-8"))


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
    assert "jobq.store.store" in loaded
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
