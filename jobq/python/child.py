"""Calls one Python function for a job, in whatever interpreter the job was added from.

Run by path as `python -u child.py MODULE:FUNCTION ARGUMENTS RESULT`: ARGUMENTS is JSON, {"args": [], "kwargs": {}},
RESULT the file that gets {"result": ...} or {"error": {"type", "message", "traceback"}}, as JSON. `"retry": false`
beside an error says that the same call can only end the same way. What the function prints goes where the job's output
goes, and so does the traceback. A coroutine is run to its end. TERM raises SystemExit in the function, so that its
`finally` blocks and context managers run; if that ends it, this process dies of TERM.

Exit status: 0 it returned; 1 it raised, or returned what can't be stored; 2 it does not take these arguments, or this
Python is too old; 74 the result can't be saved, ever; 127 there is no such module or function; anything else is its
own doing. Standard library only, nothing of jobq: the interpreter need not have it. Oldest Python: 3.7; older ones must
be able to read this file, to be told so, which is why its types are comments.
"""

import os
import sys

USERS_PATH = sys.path[:]
LOADED_BEFORE = set(sys.modules)
LIBRARY = os.path.dirname(os.__file__)
if __name__ == "__main__":
    sys.path[:] = [place for place in sys.path if place.startswith(LIBRARY)]  # PYTHONPATH would come before it

import atexit  # noqa: E402
import errno  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402
import signal  # noqa: E402
from importlib import import_module  # noqa: E402
from time import sleep  # noqa: E402  # ours, whatever the function puts in its place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable  # noqa: F401
    from typing import Any  # noqa: F401

MOST_RESULT = 16 << 20  # bytes
MOST_TEXT = 20000  # characters of a traceback
MOST_MESSAGE = 2000  # characters of a message
MOST_DEPTH = 500  # of lists and objects in each other: what every reader can take
MOST_DIGITS = 4300  # of a number: longer ones are refused by Python's own reader
NO_ROOM_PAUSE = 0.5  # seconds between two tries to save the result
MAY_BE_MENDED = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOMEM, errno.ENFILE,
    errno.EMFILE, errno.EAGAIN, errno.ESTALE,
)  # fmt: skip


class Final(Exception):
    """A sentence: why the call can only end this way, however often it is tried."""

    def __init__(self, sentence, status, kind):  # type: (str, int, str) -> None
        Exception.__init__(self, sentence)
        self.status = status
        self.kind = kind


class Terminated(SystemExit):
    """TERM has come. asyncio lets a SystemExit through, and `except Exception` does not stop it."""


def main():  # type: () -> int
    """Call it, write down how it went; the exit status."""
    function, arguments, path = sys.argv[1:4]
    result = ResultFile(path, function)
    if sys.version_info < (3, 7):
        document, status = describe(impossible("functions need Python 3.7 or newer; %s is older" % sys.executable))
        return result.save(json.dumps(document), status)
    function = result.function = os.fsencode(function).decode("utf-8", "surrogateescape")  # whatever the locale
    call = json.loads(arguments)
    termination = Termination()
    use_the_users_modules()
    sys.argv[:] = [function]
    try:
        return result.save(*outcome(function, call))
    except Terminated:
        termination.is_fatal = True
        raise


def outcome(function, call):  # type: (str, dict[str, Any]) -> tuple[str, int]
    """What is written of the call, and the exit status. Raises Terminated."""
    try:
        return as_json(run(find(function), call, function), function), 0
    except Terminated:
        raise
    except BaseException as e:  # whatever it is, it is the result
        document, status = describe(e)
        return json.dumps(document), status


# -- before the call: signals, modules -------------------------------------------------------------


class Termination:
    """TERM as an exception in the function, so that what it has begun is tidied up; then as the death that it is."""

    def __init__(self):  # type: () -> None
        self.is_told = False
        self.is_fatal = False  # the exception has ended the function
        self.handler = self.tell
        self.mask = set()  # type: set[Any]
        signal.signal(signal.SIGTERM, self.handler)
        os.register_at_fork(before=self.hold_back, after_in_parent=self.let_through, after_in_child=self.forget)
        atexit.register(self.die)  # the first one runs last, behind all that the function registers

    def tell(self, number, _frame):  # type: (int, object) -> None
        """Raise it once: a second TERM would cut short what tidies up."""
        if not self.is_told:
            self.is_told = True
            raise Terminated(128 + number)

    def hold_back(self):  # type: () -> None
        """Keep a TERM for a child until it has forgotten the handler: a new child drops what came before."""
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def let_through(self):  # type: () -> None
        """As before the fork."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)

    def forget(self):  # type: () -> None
        """A forked child dies of TERM at once, as ever."""
        self.is_fatal = False
        if signal.getsignal(signal.SIGTERM) == self.handler:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.let_through()

    def die(self):  # type: () -> None
        """Let whoever waits for this process see what ended it."""
        if self.is_fatal:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)


def use_the_users_modules():  # type: () -> None
    """Let imports find what `python -m` would find here: the job's directory first, then PYTHONPATH, then the rest.

    Of what this file has loaded, nothing stays that a module of theirs would come before. PYTHONSAFEPATH keeps the
    directory from hiding others: it comes last then.
    """
    from importlib.machinery import PathFinder

    here = os.getcwd()
    if getattr(sys.flags, "safe_path", False):
        sys.path[:] = USERS_PATH + [here]
    else:
        sys.path[:] = [here] + USERS_PATH[1:]  # that one is the directory of this file
    first = []
    for place in sys.path:
        if place.startswith(LIBRARY):
            break
        first.append(place)
    ours = set(sys.modules) - LOADED_BEFORE
    specs = [PathFinder.find_spec(name, first) for name in ours if "." not in name]
    if any(spec is not None and spec.loader is not None for spec in specs):
        for name in ours:
            del sys.modules[name]


# -- the call --------------------------------------------------------------------------------------


def find(function):  # type: (str) -> Callable[..., Any]
    """What "module:name" or "module:name.name" stands for. Raises Final, and what the import raises."""
    module_name, _, names = function.partition(":")
    if module_name == "__main__":
        raise impossible("__main__ is no module that a job can import; name the file: SCRIPT:FUNCTION for SCRIPT.py")
    try:
        found = import_module(module_name)  # type: Any
    except ImportError as e:
        if not isinstance(e, ModuleNotFoundError) or not (module_name + ".").startswith("%s." % e.name):
            raise  # the module is there, and lacks something itself
        raise impossible("there is no module %s for %s in %s" % (e.name, sys.executable, os.getcwd()))
    for name in names.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise impossible("%s has no %s" % (module_name, names))
    if not callable(found):
        raise impossible("%s can't be called" % function)
    return found  # type: ignore[no-any-return]


def impossible(sentence, status=127):  # type: (str, int) -> Final
    """The error of what can't be called at all."""
    return Final(sentence, status, "Impossible")


def run(target, call, function):  # type: (Callable[..., Any], dict[str, Any], str) -> Any
    """What it returns. Raises Final if it does not take these arguments, and what it raises.

    Only the call itself tells what it takes: a decorator may add arguments, or take some away.
    """
    try:
        result = target(*call["args"], **call["kwargs"])
    except TypeError as e:
        if e.__traceback__ is not None and e.__traceback__.tb_next is None:  # nothing of it has run
            raise impossible("%s does not take these arguments: %s" % (function, words(e)))
        raise
    if hasattr(result, "__await__"):
        import asyncio

        result = asyncio.run(result if asyncio.iscoroutine(result) else asyncio.wait_for(result, None))
    return result


def as_json(result, function):  # type: (object, str) -> str
    """What is written of a result. Raises Final if it can't be read again: it has run, which is not to be repeated."""
    kind = type(result).__name__
    if kind in ("generator", "async_generator"):
        raise Final("%s returned a generator, whose code has not run; let it return a list" % function, 1, "TypeError")
    try:
        text = json.dumps({"result": result}, allow_nan=False)
        check_readable(text)
    except Exception as e:  # a dict of theirs may raise anything
        sentence = "%s has run, but what it returned (a %s) is not JSON: %s" % (function, kind, words(e))
        raise Final(sentence, 1, type(e).__name__)
    if len(text) > MOST_RESULT:
        sentence = "%s has run, but returned %d bytes of JSON; the limit is %d" % (function, len(text), MOST_RESULT)
        raise Final(sentence + "; let it write a file and return its name", 1, "ValueError")
    return text


def check_readable(text):  # type: (str) -> None
    """Raises ValueError for JSON that means less than the result did, or that some readers can't take."""

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
    raise ValueError("lists lie in lists, more than %d deep" % MOST_DEPTH)


# -- after it --------------------------------------------------------------------------------------


def describe(error):  # type: (BaseException) -> tuple[dict[str, Any], int]
    """What is written of an exception, and the exit status. Its traceback is printed, without our own frames."""
    if isinstance(error, Final):
        say("%s\n" % error)
        what = {"type": error.kind, "message": clip(str(error), MOST_MESSAGE), "traceback": ""}
        return {"retry": False, "error": what}, error.status
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    kind = type(error)
    plain = kind.__module__ in ("builtins", "__main__")
    name = kind.__qualname__ if plain else "%s.%s" % (kind.__module__, kind.__qualname__)
    text = traceback_of(error.with_traceback(frames))
    what = {"type": name, "message": clip(words(error), MOST_MESSAGE), "traceback": clip(text, MOST_TEXT)}
    if not isinstance(error, SystemExit):
        say(text)
        return {"error": what}, 1
    if error.code is None or error.code == 0:
        return {"result": None}, 0
    if isinstance(error.code, int):
        return {"error": what}, error.code & 255 or 1  # 256 is no success
    say("%s\n" % words(error))
    return {"error": what}, 1


def traceback_of(error):  # type: (BaseException) -> str
    """As the interpreter itself prints it, which copes with any exception, and with modules that hide its own."""
    stderr, sys.stderr = sys.stderr, io.StringIO()
    try:
        sys.__excepthook__(type(error), error, error.__traceback__)
        return sys.stderr.getvalue()
    except Exception:
        return "%s\n" % type(error).__name__
    finally:
        sys.stderr = stderr


def words(error):  # type: (BaseException) -> str
    """Its message."""
    try:
        return str(error)
    except BaseException:
        return "<it can't be printed>"


def clip(text, most):  # type: (str, int) -> str
    """The beginning and the end of a long text, in characters that every file can hold."""
    if len(text) > most:
        text = "%s\n... %d characters left out ...\n%s" % (text[: most // 2], len(text) - most, text[-most // 2 :])
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def say(text):  # type: (str) -> None
    """Print to stderr, if the function has left one."""
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
    """The file that gets the result."""

    def __init__(self, path, function):  # type: (str, str) -> None
        self.path = path
        self.function = function
        self.owner = os.getpid()
        self.spare = os.open(os.devnull, os.O_RDONLY)  # for a function that uses up all descriptors

    def save(self, text, status):  # type: (str, int) -> int
        """Return when it is there, however long the disk is full: what has run is not to be repeated. The exit status.

        TERM ends the wait. A forked child that comes back out of the function leaves nothing.
        """
        is_told = False
        while os.getpid() == self.owner:
            try:
                self.write(text)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is left to tidy up
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
        """Make the file, whole or not at all, durable on return. Raises OSError."""
        temp = self.path + ".tmp"
        remove(temp)  # of a try that was cut short
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
            remove(temp)  # it takes room
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
