"""Prepare the process before it imports anything else: its own modules, no warnings, open standard files.

PYTHONPATH, PYTHONWARNINGS and the like are meant for the user's programs. Jobs get them; jobq itself ignores them.
"""

import gc
import os
import sys

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # the directory that holds the package
GARBAGE = (50_000, 20, 50)  # objects until it is looked for, and rounds until older ones are looked at
LIBRARY = os.path.dirname(os.path.abspath(os.__file__))


def hurry() -> None:
    """Look for garbage less often: nearly all that is made while modules load lasts until the end."""
    gc.set_threshold(*GARBAGE)


def isolate() -> None:
    """Restrict later imports to the standard library and jobq's own environment. Must be called first."""
    open_standard_files()
    own_path()
    if sys.warnoptions:  # PYTHONWARNINGS or PYTHONDEVMODE is set: a warning about a library must not stop jobq
        import warnings  # noqa: PLC0415

        warnings.simplefilter("ignore")


def open_standard_files() -> None:
    """Open closed standard descriptors; else a file of the store could become stdout. Writing to them still fails."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # gets the lowest free number, which is this one


def own_path() -> None:
    """Remove the user's folders from sys.path. Those that jobq itself needs move to its end."""
    foreign = foreign_places()
    own = [place for place in sys.path if os.path.abspath(place) not in foreign]
    needed = [place for place in sys.path if os.path.abspath(place) in foreign and is_ours(os.path.abspath(place))]
    sys.path[:] = own + needed
    forget_shadows(foreign)


def foreign_places() -> set[str]:
    """Return the folders of PYTHONPATH, and the one that Python puts first: the script's or the working directory."""
    named = os.environ.get("PYTHONPATH")
    places = named.split(os.pathsep) if named else []
    if not sys.flags.safe_path:
        places += sys.path[:1]
    return {os.path.abspath(place) for place in places} - {LIBRARY, f"{LIBRARY}/lib-dynload"}


def is_ours(place: str) -> bool:
    """Return True if jobq or a library of its own may be there: some systems put every library on PYTHONPATH."""
    return place == HOME or os.path.basename(place) in {"site-packages", "dist-packages"}


def is_in(file: str, places: set[str]) -> bool:
    """Return True if a file is in one of these folders, and not in the standard library below it.

    A person's own Python is often below the home directory, where a worker of systemd starts.
    """
    inside = (place for place in places if file.startswith(f"{place}/"))
    return any(not (LIBRARY.startswith(f"{place}/") and file.startswith(f"{LIBRARY}/")) for place in inside)


def forget_shadows(foreign: set[str]) -> None:
    """Drop modules that hide a module of the standard library and were imported before `own_path` ran.

    Python's start imports some (for .pth files); the launcher of older pips imports `re`, which is replaced in it.
    """
    found = {
        name: module
        for name, module in sys.modules.items()
        if name.partition(".")[0] in sys.stdlib_module_names
        and name != "__main__"
        and (file := getattr(module, "__file__", None))
        and file != f"{LIBRARY}/{name}.py"  # as nearly all are: the rest takes a while
        and is_in(os.path.abspath(file), foreign)
    }
    for name in found:
        del sys.modules[name]
    launcher = vars(sys.modules["__main__"])
    if "re" in found and launcher.get("re") is found["re"]:
        import re  # noqa: PLC0415

        launcher["re"] = re
