"""Options of commands: those of a job, made from the rows of the table, and values of others."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, TypeVar

import typer

from jobq.environ import environment
from jobq.errors import UsageError
from jobq.options.kinds import Flag
from jobq.options.table import OPTIONS, JobOption, parse_options

V = TypeVar("V")


def takes_job_options(
    *, only_given: bool = False, without: Collection[str] = (), **defaults: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for every option of a job; it gets the values that were given as its argument `options`.

    `defaults` differ from the table's for this command; `only_given`: there are none, as for a change of a job. The
    word "none" takes back what was asked for, or what the settings say. `without`: options that this command lacks.
    """
    options = [option for option in OPTIONS if option.name not in without]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def wrapped(**values: Any) -> None:
            texts = {option.name: values.pop(option.name) for option in options}
            cleared = {
                o.name: o.default
                for o in options
                if (only_given or o.setting) and o.default in {None, ()} and is_none(texts[o.name])
            }
            given = {name: text for name, text in texts.items() if name not in cleared}
            cleared |= {o.name: False for o in options if o.setting and texts[o.name] is False}
            command(options=parse_options(given, environment()) | cleared, **values)

        own = inspect.signature(command, eval_str=True).parameters.values()
        rows = [_parameter(option, None if only_given else defaults) for option in options]
        parameters = [p for p in own if p.name != "options"] + rows
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
        wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
        return wrapped

    return decorate


def is_none(text: object) -> bool:
    """Return True if an option was given the word that takes it back."""
    return text in ("none", ["none"])  # a list has no hash


def _parameter(option: JobOption, defaults: Mapping[str, Any] | None) -> inspect.Parameter:
    default = None if defaults is None else defaults.get(option.name, option.default)
    shown = "" if default in (None, ()) else f"  [default: {option.shown(default)}]"
    flag = typer.Option(*option.flags, metavar=option.kind.metavar, help=option.help + shown)
    kind: Any = list[str] | None if option.many else str | None
    if isinstance(option.kind, Flag):
        name = option.flags[0]
        both = f"{name}/--no-{name.removeprefix('--')}" if option.setting else name
        flag, kind = typer.Option(both, help=option.help), bool | None
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, flag]
    )


def value_of(flag: str, parse: Callable[[str], V], text: str) -> V:
    """Return the value of another option's text. Raises UsageError that names the option."""
    try:
        return parse(text)
    except UsageError as e:
        raise UsageError(f"{flag}: {e}", e.hint) from None
