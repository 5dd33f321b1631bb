"""The script of a supervisor. It is run by path, as an isolated interpreter has no other way to find it."""

import os
import signal
import sys


def main() -> None:
    """Serve as the supervisor of one slot until there is nothing more to do."""
    # Behind the standard library, so that no module beside jobq can replace one of it.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from jobq.supervisor.supervisor import Supervisor  # noqa: PLC0415
    from jobq.supervisor.tree import become_subreaper  # noqa: PLC0415

    folder, slot, bound = sys.argv[1:4]
    os.umask(0o077)
    os.chdir("/")
    become_subreaper()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP, signal.SIGPIPE, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # sent if a process opens a log while we have a lease on it
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    supervisor = Supervisor(folder, slot, bound == "1")

    def leave(_number: int, _frame: object) -> None:
        supervisor.leaving = True

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    supervisor.serve()


if __name__ == "__main__":
    main()
