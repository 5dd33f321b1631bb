"""Call one Python function for a job, in the interpreter that the job was added from.

Run by path as `python -u child.py MODULE:FUNCTION ARGUMENTS RESULT` (or with --host or --check in the place of the
function: see host.py, describing.py). ARGUMENTS is JSON: {"args": [], "kwargs": {}}, and
perhaps "path", the directory that the module is in, or its file, "retry_on" and "no_retry_on", names of exceptions.
RESULT is the file that gets {"result": ...} or {"error": {"type", "message", "traceback"}}, as JSON. Beside an error,
`"retry": false` means that the same call can only end the same way, `true` that another one is asked for, "after" so
many seconds; `"counted": false` that it is no failure. The output of the function and its traceback go to the output of
the job. A coroutine is run to its end. TERM raises SystemExit in the function, so that its `finally` blocks and context
managers run; if that ends the function, this process dies of TERM.

Exit status: 0 the function returned; 1 it raised, or its result can't be stored; 74 the result file can never be saved;
75 it is to be called again later; 127 there is no such module or function, it does not take these arguments, or this
Python is too old; any other status is the function's own. This file and its neighbours use only the standard library:
the interpreter need not have jobq. Oldest Python: 3.7; older ones must still parse this file, to report that they are
too old, so its types are comments.
"""

import os
import sys

USERS_PATH = sys.path[:]
LOADED_BEFORE = set(sys.modules)
LIBRARY = os.path.dirname(os.__file__)
HERE = os.path.dirname(os.path.abspath(__file__))
if __name__ == "__main__":
    sys.path[:] = [place for place in sys.path if place.startswith(LIBRARY)]  # modules in PYTHONPATH would hide it

import atexit  # noqa: E402
import errno  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402
import signal  # noqa: E402
from importlib import import_module  # noqa: E402
from time import sleep  # noqa: E402  # the original, even if the function replaces it

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable  # noqa: F401
    from typing import Any  # noqa: F401

MOST_RESULT = 16 << 20  # bytes
MOST_TEXT = 20000  # characters of a traceback
MOST_MESSAGE = 2000  # characters of a message
MOST_DEPTH = 500  # levels of nested lists and objects that every reader can take
MOST_DIGITS = 4300  # of a number: Python's own reader refuses longer ones
NO_ROOM_PAUSE = 0.5  # seconds between two tries to save the result
MAY_BE_MENDED = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOMEM, errno.ENFILE,
    errno.EMFILE, errno.EAGAIN, errno.ESTALE,
)  # fmt: skip


class Final(Exception):
    """An error that every further try of the call would repeat; its message is a sentence that gives the reason."""

    def __init__(self, sentence, status, kind):  # type: (str, int, str) -> None
        Exception.__init__(self, sentence)
        self.status = status
        self.kind = kind
        self.hint = ""  # what to do about it, where a person is told at once


class Terminated(SystemExit):
    """TERM, as an exception. asyncio lets a SystemExit through, and `except Exception` does not stop it."""


def main():  # type: () -> int
    """Call the function and save its result; return the exit status."""
    function, arguments, path = sys.argv[1:4]
    result = ResultFile(path, function)  # before anything uses up all descriptors
    if sys.version_info < (3, 7):
        if function == "--check":
            return reply(path, {"refused": "functions need Python 3.7 or newer; %s is older" % sys.executable})
        document, status = describe(impossible("functions need Python 3.7 or newer; %s is older" % sys.executable))
        return result.save(json.dumps(document), status)
    function = result.function = os.fsencode(function).decode("utf-8", "surrogateescape")  # whatever the locale
    call = json.loads(arguments)
    termination = Termination()
    find_neighbours()
    if function == "--check":
        with os.fdopen(os.dup(0), "rb") as f:
            call = json.loads(f.read())
        os.dup2(result.spare, 0)
        describing = neighbour("describing")  # before a module of the user can hide what it needs
    if function == "--host":
        host = neighbour("host")
    use_the_users_modules(call.get("path"))
    if function == "--host":
        try:
            host.serve(sys.modules[__name__], termination)
        except Terminated:
            termination.is_fatal = True
            raise
        return 0
    if function == "--check":
        return reply(path, describing.answer(sys.modules[__name__], call))
    sys.argv[:] = [function]
    try:
        return result.save(*outcome(function, call))
    except Terminated:
        termination.is_fatal = True
        raise


def reply(number, document):  # type: (str, dict[str, Any]) -> int
    """Write the answer to a question to that descriptor, and return the exit status."""
    data = memoryview(json.dumps(document).encode("ascii") + b"\n")
    while data:
        data = data[os.write(int(number), data) :]
    os.close(int(number))
    os._exit(0)  # whatever the import has left running


def outcome(function, call, finder=None):  # type: (str, dict[str, Any], Callable[..., Any] | None) -> tuple[str, int]
    """Make the call; return the text for the result file, and the exit status. Raises Terminated."""
    try:
        return as_json(run((finder or find)(function, call.get("path")), call, function), function), 0
    except Terminated:
        raise
    except BaseException as e:  # any exception is a result
        document, status = describe(e)
        if status == 1 and "retry" not in document:
            document.update(wish_of(e, call.get("retry_on"), call.get("no_retry_on")))
            status = 1 if document.get("counted", True) else 75
        return json.dumps(document), status


# -- before the call: signals, modules -------------------------------------------------------------


class Termination:
    """Handler of TERM: an exception ends the function, so that it can clean up; then the process dies of TERM."""

    def __init__(self):  # type: () -> None
        self.is_told = False
        self.is_fatal = False  # the exception has ended the function
        self.handler = self.tell
        self.mask = set()  # type: set[Any]
        signal.signal(signal.SIGTERM, self.handler)
        os.register_at_fork(before=self.hold_back, after_in_parent=self.let_through, after_in_child=self.forget)
        atexit.register(self.die)  # registered first, so it runs last, after all that the function registers

    def tell(self, number, _frame):  # type: (int, object) -> None
        """Raise Terminated once: a second one would interrupt the clean-up."""
        if not self.is_told:
            self.is_told = True
            raise Terminated(128 + number)

    def hold_back(self):  # type: () -> None
        """Block TERM until a forked child has dropped the handler: Python in a new child discards earlier signals."""
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def let_through(self):  # type: () -> None
        """Restore the signal mask from before the fork."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)

    def forget(self):  # type: () -> None
        """Drop the handler in a forked child: it dies of TERM at once, as usual."""
        self.is_fatal = False
        if signal.getsignal(signal.SIGTERM) == self.handler:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.let_through()

    def die(self):  # type: () -> None
        """Die of TERM if that has ended the function, so that the parent process sees the reason."""
        if self.is_fatal:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)


class Neighbours:
    """Finder of the modules beside this file: as jobq_child.NAME, and inside.py as jobq where that is not installed.

    It comes last. No module of the user can hide them. Nothing compiled is left in the folder, which is the worker's.
    """

    @staticmethod
    def find_spec(name, _path=None, _target=None):  # type: (str, object, object) -> Any
        """Return where the module is."""
        if name != "jobq" and not name.startswith("jobq_child."):
            return None
        from importlib.machinery import ModuleSpec, SourceFileLoader

        class Loader(SourceFileLoader):
            def set_data(self, *_args, **_more):  # type: (Any, Any) -> None
                """Write no compiled file."""

        path = os.path.join(HERE, "inside.py" if name == "jobq" else "%s.py" % name[len("jobq_child.") :])
        spec = ModuleSpec(name, Loader(name, path), origin=path)
        spec.has_location = True
        return spec


def find_neighbours():  # type: () -> None
    """Let imports find the modules beside this file. Load the one that each call needs."""
    package = type(sys)("jobq_child")
    package.__path__ = []
    sys.modules["jobq_child"] = package
    sys.meta_path.append(Neighbours)
    neighbour("plain")


def neighbour(name):  # type: (str) -> Any
    """Return a module beside this file."""
    return import_module("%s.%s" % (__package__ or "jobq_child", name))


def as_here(path):  # type: (str) -> str
    """Return a path, which comes as UTF-8, as the locale of this process has it."""
    return os.fsdecode(path.encode("utf-8", "surrogateescape"))


def use_the_users_modules(path=None):  # type: (str | None) -> None
    """Let imports find what `python -m` would find here: the job's directory first, then PYTHONPATH, then the rest.

    Before all comes `path`, the directory of the module, or the file that it is. If a module of the user has the name
    of one that this file has loaded, all that it has loaded is unloaded. With PYTHONSAFEPATH, the directories must not
    hide other modules: they come last.
    """
    from importlib.machinery import PathFinder

    places = [os.getcwd()]
    if path is not None:
        path = as_here(path)
        places.insert(0, os.path.dirname(path) if path.endswith(".py") else path)
    if getattr(sys.flags, "safe_path", False):
        sys.path[:] = USERS_PATH + places
    else:
        sys.path[:] = places + USERS_PATH[1:]  # the first entry is the directory of this file
    first = []
    for place in sys.path:
        if place.startswith(LIBRARY):
            break
        first.append(place)
    ours = {name for name in set(sys.modules) - LOADED_BEFORE if not name.startswith("jobq_child")}
    specs = [PathFinder.find_spec(name, first) for name in ours if "." not in name]
    if any(spec is not None and spec.loader is not None for spec in specs):
        for name in ours:
            del sys.modules[name]


# -- the call --------------------------------------------------------------------------------------


def find(function, path=None):  # type: (str, str | None) -> Callable[..., Any]
    """Return what "module:name" or "module:name.name" names; of a handler, its function.

    `path`: the directory of the module, or its file. A module that is not there is looked for in src/, too. Raises
    Final, and what the import raises.
    """
    module_name, _, names = function.partition(":")
    if module_name == "__main__":
        raise impossible("a job can't import __main__; name the file: SCRIPT:FUNCTION for SCRIPT.py")
    path = path if path is None else as_here(path)
    if path is not None and not os.path.exists(path):
        raise impossible("%s, where %s was, is gone" % (path, module_name))
    try:
        found = load(module_name, path)  # type: Any
    except ImportError as e:
        if not isinstance(e, ModuleNotFoundError) or not (module_name + ".").startswith("%s." % e.name):
            raise  # the module exists, but its own imports fail
        raise impossible("there is no module %s for %s in %s" % (e.name, sys.executable, os.getcwd()))
    for name in names.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            own = [n for n in dir(found) if getattr(getattr(found, n, None), "__module__", None) == module_name]
            raise impossible("%s has no %s%s" % (module_name, names, like(name, own or dir(found))))
    if not callable(found):
        raise impossible("%s can't be called" % function)
    return found  # type: ignore[no-any-return]


def load(name, path=None):  # type: (str, str | None) -> Any
    """Import the module; from its file, if `path` is one. Raises what the import raises."""
    if path is not None and path.endswith(".py"):
        from importlib.util import module_from_spec, spec_from_file_location

        spec = spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = sys.modules[name] = module_from_spec(spec)
        state = spec  # type: Any
        state._initializing = True  # as importlib does, by which jobq knows a script that enqueues itself
        try:
            spec.loader.exec_module(module)
        finally:
            state._initializing = False
        return module
    top = name.partition(".")[0]
    try:
        return import_module(name)
    except ImportError as e:
        source = os.path.join(os.getcwd(), "src")
        is_there = os.path.isdir(os.path.join(source, top)) or os.path.isfile(os.path.join(source, top + ".py"))
        if e.name != top or source in sys.path or not is_there:
            raise
        sys.path.insert(1, source)
        return import_module(name)


def like(name, names):  # type: (str, list[str]) -> str
    """Return a hint at the name that was probably meant; "" if there is none."""
    from difflib import get_close_matches

    near = get_close_matches(name, [n for n in names if not n.startswith("_")], 1)
    return "; did you mean %s?" % near[0] if near else ""


def impossible(sentence, status=127):  # type: (str, int) -> Final
    """Return the error for a function that can't be called at all."""
    return Final(sentence, status, "Impossible")


def run(target, call, function):  # type: (Callable[..., Any], dict[str, Any], str) -> Any
    """Call the function and return its result. Raises Final if it does not take these arguments, and what it raises.

    Only the call itself shows which arguments it takes: a decorator may add some, or remove some.
    """
    target = inside_handler(target)
    args, kwargs = call["args"], call["kwargs"]
    if not is_bare(target):
        try:
            args, kwargs = neighbour("conversion").convert_arguments(target, args, kwargs)
        except neighbour("plain").Mismatch as e:
            raise impossible("%s does not take these arguments: %s" % (function, e))
    try:
        result = target(*args, **kwargs)
    except TypeError as e:
        if e.__traceback__ is not None and e.__traceback__.tb_next is None:  # no code of it has run
            raise impossible("%s does not take these arguments: %s" % (function, words(e)))
        raise
    if hasattr(result, "__await__"):
        import asyncio

        result = asyncio.run(result if asyncio.iscoroutine(result) else asyncio.wait_for(result, None))
    return result


def is_bare(target):  # type: (Any) -> bool
    """Return True for a function without annotations: nothing is converted, and the call shows what it takes."""
    return type(target) is type(is_bare) and not target.__annotations__ and not target.__dict__


def inside_handler(target):  # type: (Any) -> Any
    """Return the function of a handler; anything else as it is."""
    return target.function if getattr(type(target), "jobq_handler", False) else target


def as_json(result, function):  # type: (object, str) -> str
    """Return a result as JSON. Raises Final if that is not possible: the function has run, and must not run again."""
    kind = type(result).__name__
    if kind in ("generator", "async_generator"):
        raise Final("%s returned a generator, whose code has not run; let it return a list" % function, 1, "TypeError")
    try:
        text = '{"result": %s}' % neighbour("plain").dumps(result, "the result")
        check_readable(text)
    except Exception as e:  # a user's own kind of dict may raise anything
        sentence = "%s has run, but its result is not JSON: %s" % (function, words(e))
        raise Final(sentence, 1, type(e).__name__)
    if len(text) > MOST_RESULT:
        sentence = "%s has run, but returned %d bytes of JSON; the limit is %d" % (function, len(text), MOST_RESULT)
        raise Final(sentence + "; let it write a file and return its name", 1, "ValueError")
    return text


def check_readable(text):  # type: (str) -> None
    """Raise ValueError if the JSON holds less than the result did, or if some readers can't take it."""

    def members(pairs):  # type: (list[tuple[str, Any]]) -> dict[str, Any]
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            raise ValueError("two of its keys are %r" % max(names, key=names.count))
        return found

    def number(digits):  # type: (str) -> int
        if len(digits) > MOST_DIGITS:
            raise ValueError("a number has %d digits; the limit is %d" % (len(digits), MOST_DIGITS))
        return 0

    level = [json.loads(text, object_pairs_hook=members, parse_int=number)]
    for _ in range(MOST_DEPTH + 2):
        level = [m for v in level if isinstance(v, (list, dict)) for m in (v.values() if isinstance(v, dict) else v)]
        if not level:
            return
    raise ValueError("lists or objects are nested more than %d deep" % MOST_DEPTH)


# -- after it --------------------------------------------------------------------------------------


def describe(error):  # type: (BaseException) -> tuple[dict[str, Any], int]
    """Return an exception as JSON values, and the exit status. Print its traceback, without the frames of this file."""
    if isinstance(error, Final):
        say("%s\n" % error)
        what = {"type": error.kind, "message": clip(str(error), MOST_MESSAGE), "traceback": ""}
        return {"retry": False, "error": dict(what, sentence=True)}, error.status
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    kind = type(error)
    plain = kind.__module__ in ("builtins", "__main__")
    name = kind.__qualname__ if plain else "%s.%s" % (kind.__module__, kind.__qualname__)
    if kind.__module__ == "jobq.python.inside":
        name = "jobq.%s" % kind.__qualname__
    text = traceback_of(error.with_traceback(frames))
    what = {"type": name, "message": clip(words(error), MOST_MESSAGE), "traceback": clip(text, MOST_TEXT)}
    if not isinstance(error, SystemExit):
        is_plan = getattr(kind, "jobq_wish", None) in ("retry", "snooze")  # no failure that anybody has to look into
        say("%s: %s\n" % (kind.__name__, words(error)) if is_plan else text)
        return {"error": what}, 1
    if error.code is None or error.code == 0:
        return {"result": None}, 0
    if isinstance(error.code, int):
        return {"error": what}, error.code & 255 or 1  # 256 is no success
    say("%s\n" % words(error))
    return {"error": what}, 1


def wish_of(error, retry_on, no_retry_on):  # type: (BaseException, list[str] | None, list[str] | None) -> dict[str, Any]
    """Return what an exception, or the options of the job, ask for beside another attempt as usual."""
    wish = getattr(type(error), "jobq_wish", None)
    if wish == "fail":
        return {"retry": False}
    if wish in ("retry", "snooze"):
        after = getattr(error, "after", None)  # it has checked that it is a number
        found = {"retry": True} if after is None else {"retry": True, "after": after}  # type: dict[str, Any]
        return found if wish == "retry" else dict(found, counted=False)
    if any(is_named(error, name) for name in no_retry_on or ()):
        return {"retry": False}
    if retry_on:
        return {"retry": any(is_named(error, name) for name in retry_on)}
    return {}


def is_named(error, name):  # type: (BaseException, str) -> bool
    """Return True if a class of the exception has this name, with its module or without."""
    import builtins

    known = getattr(builtins, name, None)  # IOError is another name of OSError
    if isinstance(known, type) and isinstance(error, known):
        return True
    return any(
        name in (kind.__name__, kind.__qualname__, "%s.%s" % (kind.__module__, kind.__qualname__))
        for kind in type(error).__mro__
    )


def traceback_of(error):  # type: (BaseException) -> str
    """Return the traceback as the interpreter prints it: it needs no module that the user's may hide."""
    stderr, sys.stderr = sys.stderr, io.StringIO()
    try:
        sys.__excepthook__(type(error), error, error.__traceback__)
        return sys.stderr.getvalue()
    except Exception:
        return "%s\n" % type(error).__name__
    finally:
        sys.stderr = stderr


def words(error):  # type: (BaseException) -> str
    """Return the message of the exception."""
    try:
        return str(error)
    except BaseException:
        return "<it can't be printed>"


def clip(text, most):  # type: (str, int) -> str
    """Return the text, a long one without its middle, in characters that every file can hold."""
    if len(text) > most:
        text = "%s\n... %d characters left out ...\n%s" % (text[: most // 2], len(text) - most, text[-most // 2 :])
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def say(text):  # type: (str) -> None
    """Print to stderr, even if the function has closed sys.stderr."""
    text = clip(text, 50 * MOST_TEXT)
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except Exception:
        try:
            os.write(2, text.encode("utf-8"))
        except OSError:
            pass


class ResultFile:
    """The file for the result of the call."""

    def __init__(self, path, function):  # type: (str, str) -> None
        self.path = path
        self.function = function
        self.owner = os.getpid()
        self.spare = os.open(os.devnull, os.O_RDONLY)  # closed to free a descriptor if the function has used up all

    def close(self):  # type: () -> None
        """Give up the spare descriptor."""
        if self.spare >= 0:
            try:
                os.close(self.spare)
            except OSError:  # the function has closed it
                pass
            self.spare = -1

    def save(self, text, status):  # type: (str, int) -> int
        """Save the text, and wait as long as the disk is full: what has run must not run again. Return the exit status.

        TERM ends the wait. A forked child that returns from the function saves nothing.
        """
        is_told = False
        while os.getpid() == self.owner:
            try:
                self.write(text)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is left to clean up
                break
            except OSError as e:
                if e.errno == errno.EFBIG and status == 0:  # setrlimit(2): there will never be room
                    sentence = "%s has run, but its result can't be saved: %s" % (self.function, e.strerror)
                    document, status = describe(Final(sentence, 1, "OSError"))
                    text = json.dumps(document)
                    continue
                if e.errno not in MAY_BE_MENDED:
                    say("jobq: the result of %s is lost: %s\n" % (self.function, e))
                    return 74
                if not is_told:
                    is_told = True
                    say("jobq: the result of %s waits for room: %s\n" % (self.function, e))
                if e.errno == errno.EMFILE and self.spare >= 0:
                    os.close(self.spare)
                    self.spare = -1
                    continue
            sleep(NO_ROOM_PAUSE)
        return status

    def write(self, text):  # type: (str) -> None
        """Write the file, whole or not at all; it is durable on return. Raises OSError."""
        temp = self.path + ".tmp"
        remove(temp)  # left by a try that was cut short
        try:
            fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                os.fchmod(fd, 0o600)
                data = memoryview(text.encode("ascii"))
                while data:
                    data = data[os.write(fd, data) :]
                os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(temp, self.path)
        except BaseException:
            remove(temp)  # it takes space
            raise
        folder = os.open(os.path.dirname(self.path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove(path):  # type: (str) -> None
    """Delete the file, if there is one."""
    try:
        os.unlink(path)
    except OSError:
        pass


if __name__ == "__main__":
    sys.exit(main())
