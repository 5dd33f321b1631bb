"""Settle what the program needs before it imports anything else: its own modules, no foreign warnings, open files.

PYTHONPATH, PYTHONWARNINGS and the like are meant for the user's programs. Jobs get them; jobq itself obeys none.
"""

import os
import sys

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # holds the package
LIBRARY = os.path.dirname(os.path.abspath(os.__file__))


def isolate() -> None:
    """Call it first: whatever is imported afterwards comes from the standard library and jobq's own environment."""
    open_standard_files()
    own_path()
    if sys.warnoptions:  # by PYTHONWARNINGS or PYTHONDEVMODE: a warning about our libraries must not stop us
        import warnings  # noqa: PLC0415

        warnings.simplefilter("ignore")


def open_standard_files() -> None:
    """Occupy what was closed, or a file of the store would become our stdout. To write there fails as before."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # gets the lowest number that is free: this one


def own_path() -> None:
    """Take the user's places off sys.path. What we need of them stays, behind everything else."""
    foreign = foreign_places()
    own = [place for place in sys.path if os.path.abspath(place) not in foreign]
    needed = [place for place in sys.path if os.path.abspath(place) in foreign and is_ours(os.path.abspath(place))]
    sys.path[:] = own + needed
    forget_shadows(foreign)


def foreign_places() -> set[str]:
    """The folders of PYTHONPATH, and the one that Python itself puts first: the script's, or the working directory."""
    named = os.environ.get("PYTHONPATH")
    places = named.split(os.pathsep) if named else []
    if not sys.flags.safe_path:
        places += sys.path[:1]
    return {os.path.abspath(place) for place in places} - {LIBRARY, f"{LIBRARY}/lib-dynload"}


def is_ours(place: str) -> bool:
    """Whether jobq is there, or a library of its own may be: some systems put every one of them on PYTHONPATH."""
    return place == HOME or os.path.basename(place) in {"site-packages", "dist-packages"}


def forget_shadows(foreign: set[str]) -> None:
    """Import anew what was taken for a module of the standard library before we could say where to look.

    Python's own start does that (for .pth files), and so does the launcher that older pips make: it imports `re`.
    """
    folders = tuple(f"{place}/" for place in foreign)
    found = {
        name: module
        for name, module in sys.modules.items()
        if name.partition(".")[0] in sys.stdlib_module_names
        and name != "__main__"
        and os.path.abspath(getattr(module, "__file__", None) or "/").startswith(folders)
    }
    for name in found:
        del sys.modules[name]
    launcher = vars(sys.modules["__main__"])
    if "re" in found and launcher.get("re") is found["re"]:
        import re  # noqa: PLC0415

        launcher["re"] = re
