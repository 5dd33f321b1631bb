"""The service manager that has started a worker is told of its start and end: sd_notify(3), over its socket."""

from __future__ import annotations

from jobq.environ import variable


class ServiceManager:
    """The manager of this process, if it has one."""

    def __init__(self) -> None:
        self._told = ""

    def tell(self, state: str) -> None:
        """Send a line such as "READY=1", once; a manager that does not take it is no error."""
        address = variable("NOTIFY_SOCKET")
        if state == self._told or not address.startswith(("/", "@")):
            return
        self._told = state
        import socket  # noqa: PLC0415  # few workers have such a manager

        if address[0] == "@":  # in the abstract namespace (unix(7))
            address = f"\0{address[1:]}"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.sendto(state.encode("ascii"), address)
        except OSError:
            pass
