"""A worker as a service of the user: a unit of systemd.unit(5), or an agent of launchd.plist(5).

It is started with the session, or with the machine if the user may linger, and again if it is killed. What it runs is
not ended with it: its supervisors finish the jobs, and the next worker adopts them, as everywhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from jobq.environ import full_path, home, user, variable
from jobq.errors import NotSaved, Refused
from jobq.settings.editing import changing, write
from jobq.system import LINUX, utf8
from jobq.typed import NamedTuple

STOP_TIME = 120  # seconds, more than the usual --stop-after and the grace of a job
PATIENCE = STOP_TIME + 30.0  # seconds for an answer of the service manager
MARK = "# made by 'jobq service install', which writes it anew"
HANDED_ON = ("JOBQ_CONFIG", "XDG_CONFIG_HOME", "XDG_STATE_HOME")  # they say where settings and stores are


class Service(NamedTuple):
    """A worker that is to stay: the name of its service, its store, and its words after `jobq worker`."""

    name: str
    store: str
    words: Sequence[str] = ()

    @property
    def argv(self) -> list[str]:
        """The command that runs the worker: with this Python and this jobq, whatever PATH or the directory has."""
        return [sys.executable, "-P", "-m", "jobq", "--store", self.store, "worker", *self.words]

    @property
    def path(self) -> str:
        """The file that describes it to the service manager. Raises StoreForbidden if there is no home directory."""
        if not LINUX:
            return f"{home()}/Library/LaunchAgents/{self.label}.plist"
        config = variable("XDG_CONFIG_HOME")
        return f"{config if os.path.isabs(config) else f'{home()}/.config'}/systemd/user/{self.name}.service"

    @property
    def label(self) -> str:
        """Its name for launchd."""
        return f"org.jobq.{self.name}"

    def text(self) -> str:
        """Return the content of that file."""
        return _unit(self) if LINUX else _agent(self)


def _unit(service: Service) -> str:
    variables = "".join(f"Environment={_quoted(f'{name}={value}')}\n" for name, value in handed_on().items())
    return f"""{MARK}
[Unit]
Description=jobq worker ({_escaped(service.store)})

[Service]
Type=notify
ExecStart={" ".join(_quoted(word).replace("$", "$$") for word in service.argv)}
{variables}Restart=on-failure
RestartSec=5
# TERM goes to the worker, which hands back its jobs. If it is killed, they go on, and the next worker adopts them.
KillMode=process
TimeoutStopSec={STOP_TIME}

[Install]
WantedBy=default.target
"""


def _quoted(word: str) -> str:
    """Return a word of a unit in which no specifier and no escape means anything (systemd.syntax(7)).

    Variables do, but in commands only (systemd.service(5)).
    """
    return f'"{_escaped(word)}"'


def _escaped(word: str) -> str:
    for char, instead in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("\n", "\\n")):
        word = word.replace(char, instead)
    return word


def handed_on() -> dict[str, str]:
    """Return the variables that the service needs from here."""
    found = {name: variable(name) for name in HANDED_ON if variable(name)}
    return {name: full_path(value) if name == "JOBQ_CONFIG" else value for name, value in found.items()}


def _agent(service: Service) -> str:
    import plistlib  # noqa: PLC0415

    log = f"{service.store}/worker.log"
    text = plistlib.dumps({
        "Label": service.label,
        "ProgramArguments": service.argv,
        "EnvironmentVariables": handed_on(),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "AbandonProcessGroup": True,  # its jobs outlive it
        "ExitTimeOut": STOP_TIME,
        "StandardOutPath": log,
        "StandardErrorPath": log,
    }).decode()  # fmt: skip
    return f"{text}<!-- {MARK} -->\n"


class Manager:
    """The service manager of this system: systemd for the user, or launchd."""

    def __init__(self) -> None:
        """Raise Refused if there is none."""
        program = "systemctl" if LINUX else "launchctl"
        found = shutil.which(program)
        if found is None:
            raise Refused(f"there is no {program} here", "'jobq worker --detach' runs one until the machine stops")
        self._program = found

    def _call(self, *words: str, check: bool = True) -> str:
        """Return what the manager answers. Raises Refused if it does not do it, and `check`."""
        argv = [self._program, *(["--user"] if LINUX else []), *words]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
        except (OSError, subprocess.SubprocessError) as e:
            raise Refused(f"{' '.join(argv)}: {e}") from None
        if check and done.returncode:
            why = (done.stderr or done.stdout).strip() or f"exit {done.returncode}"
            hint = "log in as this user, not by su or sudo, or set XDG_RUNTIME_DIR=/run/user/UID" if LINUX else ""
            raise Refused(f"{' '.join(argv)}: {why}", hint)
        return done.stdout.strip()

    def install(self, service: Service) -> None:
        """Describe the service to the manager, and start it, now and with each session. Raises Refused, NotSaved."""
        check_ours(service)
        was_there = os.path.lexists(service.path)
        with changing(service.path):
            write(service.path, utf8(service.text()))
        try:
            if LINUX:
                self._call("daemon-reload")
                self._call("enable", f"{service.name}.service")
                self._call("restart", f"{service.name}.service")
            else:
                self._call("bootout", f"gui/{os.geteuid()}/{service.label}", check=False)
                self._call("bootstrap", f"gui/{os.geteuid()}", service.path)
        except Refused:
            if not was_there:
                os.unlink(service.path)
            raise

    def remove(self, service: Service) -> bool:
        """Stop the service, and forget it; return False if there is none. Raises Refused, NotSaved."""
        if not os.path.lexists(service.path):
            return False
        check_ours(service)
        if LINUX:
            self._call("disable", "--now", f"{service.name}.service")
        else:
            self._call("bootout", f"gui/{os.geteuid()}/{service.label}", check=False)
        try:
            os.unlink(service.path)
        except OSError as e:
            raise NotSaved(service.path, e) from None
        if LINUX:
            self._call("daemon-reload")
        return True

    def status(self, service: Service) -> str:
        """Return the state of the service in a word: "active", "failed", "inactive"; or "not installed"."""
        if not os.path.lexists(service.path):
            return "not installed"
        if LINUX:
            return self._call("is-active", f"{service.name}.service", check=False) or "unknown"
        found = self._call("print", f"gui/{os.geteuid()}/{service.label}", check=False)
        return "active" if "state = running" in found else "inactive"


def lingers() -> bool | None:
    """Return True if services of this user run without a session of the user (loginctl(1)); None: not known."""
    program = shutil.which("loginctl") if LINUX else None
    if program is None:
        return None
    try:
        argv = [program, "show-user", user(), "--property=Linger", "--value"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return {"yes": True, "no": False}.get(done.stdout.strip())


def check_ours(service: Service) -> None:
    """Raise Refused if the file of the service is there, and `install` has not written it."""
    try:
        with open(service.path, encoding="utf-8", errors="replace") as f:
            ours = MARK in f.read()
    except FileNotFoundError:
        return
    except OSError as e:
        raise Refused(f"{service.path}: {e.strerror}") from None
    if not ours:
        raise Refused(f"{service.path} is not of jobq", "give another name with --name")
