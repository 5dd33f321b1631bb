"""jobq config, config get, config set, config unset, config edit"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands import editor
from jobq.commands.common import Json
from jobq.environ import project_file
from jobq.errors import Refused, UsageError
from jobq.options.job_file import PROBLEM
from jobq.settings.editing import changing, example, path_to_edit, text_to_edit, with_value, without, write
from jobq.settings.keys import ROWS, SECTIONS, SETTINGS, Setting, setting
from jobq.settings.levels import Level, levels, values_of, why_ignored
from jobq.settings.places import store_and_source
from jobq.settings.toml import read
from jobq.views.console import error, info, out
from jobq.views.envelope import envelope
from jobq.views.text import safe

TRIES = 5  # of a person whose text has mistakes
Name = Annotated[str, typer.Argument(metavar="NAME", help="A setting; 'jobq config' lists them.")]
Project = Annotated[bool, typer.Option("--project", help="Of the project here (.jobq.toml), not your own.")]


def config(*, json: Json = False) -> None:
    """Show the settings.

    It shows every value, and where it comes from. Flags go before the variables JOBQ_NAME, those before the project's
    file (.jobq.toml, here or above), that before your own file; the rest is built in.

    Examples: jobq config; jobq config set timeout 1h; jobq config edit
    """
    found = levels()
    if json:
        out(envelope(settings=[described(found, row) for row in ROWS]))
        return
    width = max(len(row.name) for row in ROWS)
    for row in ROWS:
        value, source = of(found, row.name)
        out(f"{row.name:{width}}  {row.shown(value):24}  {source}")
    path = project_file()
    if path is not None and (why := why_ignored(path)):
        info(f"{safe(path)} is not read: {why}")


def described(found: list[Level], row: Setting) -> dict[str, object]:
    """Return a setting as JSON has it."""
    value, source = of(found, row.name)
    return {"name": row.name, "value": row.option.as_json(value), "source": source}


def of(found: list[Level], name: str) -> tuple[object, str]:
    """Return the value of a setting, and where it comes from. Raises StoreForbidden if no store is possible."""
    if name == "store":
        return store_and_source()
    for level in found:
        if name in level.values:
            return level.values[name], level.source(name)
    return setting(name).option.default, "built in"


def get(name: Name) -> None:
    """Print the value of a setting.

    Example: jobq config get timeout
    """
    row = setting(name)
    value, _ = of(levels(), row.name)
    out(row.typed(value))


def set_(
    name: Name,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="As for the flag.")],
    *,
    project: Project = False,
) -> None:
    """Set a value in your file of settings.

    Of several values, write commas between: jobq config set labels team=web,kind=build

    Examples: jobq config set retries 5; jobq config set --project queue build
    """
    row = setting(name)
    if project and not row.in_project:
        raise UsageError(f"a project's file may not set {name}", f"'jobq config set {name}' sets it for you")
    path = path_to_edit(in_project=project)
    taken = row.parse(value)
    with changing(path):
        text = text_to_edit(path, in_project=project)
        values_of(text, path, in_project=project)
        write(path, with_value(text, row, taken))
    info(f"{name} = {row.shown(taken)} in {safe(path)}")
    try:
        current, source = of(levels(), name)
    except UsageError as e:
        info(f"note: the settings are not right as a whole: {e}")
        return
    if current != taken and name != "store":
        info(f"note: it has no effect here, as {source} says {row.shown(current)}")


def unset(name: Name, *, project: Project = False) -> None:
    """Take a value out of your file of settings.

    Examples: jobq config unset retries; jobq config unset --project queue
    """
    path = path_to_edit(in_project=project)
    with changing(path):
        text = text_to_edit(path, in_project=project)
        try:
            is_set = name in read(text, SECTIONS)
        except ValueError as e:
            raise UsageError(f"{path}: {e}", "'jobq config edit' opens it") from None
        if is_set:
            write(path, without(text, name))
    if not is_set:
        setting(name)  # raises for what is none
        info(f"nothing changed: {safe(path)} does not set {name}")
        return
    if name not in SETTINGS:
        info(f"{name} is gone from {safe(path)}")
        return
    value, source = of(levels(), name)
    info(f"{name} is {SETTINGS[name].shown(value)} now ({source})")


def edit(*, project: Project = False) -> None:
    """Open your file of settings in your editor.

    A new one begins with all settings as comments. What is wrong is said, and opened again.

    Examples: jobq config edit; jobq config edit --project
    """
    path = path_to_edit(in_project=project)
    if not editor.is_possible():
        raise UsageError("there is no terminal for an editor", f"edit {path}, or use 'jobq config set'")
    body = begun = text_to_edit(path, in_project=project) or example(in_project=project)
    told = ""
    for _ in range(TRIES):
        after = editor.edited(told + body, ".toml")
        if after is None:
            break
        body = after
        while body.startswith(PROBLEM):  # the comments of the last time, whatever the person has made of them
            body = body.partition("\n")[2]
        told = mistake_in(body, path, in_project=project)
        if not told:
            with changing(path):
                write(path, body)
            info(f"{safe(path)} saved")
            return
    if body == begun:
        info(f"{safe(path)} is left as it was")
        return
    raise Refused(f"{path} is left as it was", f"what you wrote is in {editor.keep(body, '.toml')}")


def mistake_in(body: str, path: str, *, in_project: bool) -> str:
    """Print what is wrong with a text, and return that as two comments to stand above it; "" if nothing is."""
    try:
        values_of(f"#\n#\n{body}", path, in_project=in_project)  # so that lines have the numbers that they will have
    except UsageError as e:
        error(str(e), e.hint)
        return f"{PROBLEM}{e}\n{PROBLEM}{e.hint}\n"
    return ""
