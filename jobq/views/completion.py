"""Completion scripts for bash, zsh and fish, made from the commands.

A TAB starts jobq only where jobs, queues, labels, schedules or handlers are asked for.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from jobq.job import State
from jobq.options.selectors import WAITING
from jobq.options.values import NAMED_PRIORITIES
from jobq.typed import NamedTuple

VALUES = {"--state": (*State, WAITING), "--priority": tuple(NAMED_PRIORITIES)}
VALUES |= {"--on-conflict": ("skip", "replace", "fail"), "--jitter": ("full", "none")}
FILES = {"--from", "--jsonl", "--store", "--cwd", "--stdin", "--stderr", "--env-file"}
JOBS = tuple(f"@{state}" for state in (*State, WAITING))
ASKED = ("jobs", "queues")  # kinds of words that commands take, and jobq knows
HANDLERS = "jobq call --list 2>/dev/null | sed '1d;s/[( ].*//'"
OFFERED = {"--queue": "queues", "--label": "labels", "--before": "jobs"}
OFFERED |= {"--after": "jobs", "--after-any": "jobs", "--after-fail": "jobs"}


def asked(kind: str) -> str:
    """Return the command that prints the words of this kind, one a line (commands/offers.py)."""
    return f"jobq completion --{kind} 2>/dev/null"


class Option(NamedTuple):
    """One option of a command: its flags, its help, and whether a value follows."""

    flags: tuple[str, ...]
    help: str
    takes_value: bool

    @property
    def values(self) -> tuple[str, ...]:
        """The fixed values that the option can have; empty if there are none."""
        return next((VALUES[flag] for flag in self.flags if flag in VALUES), ())

    @property
    def offered(self) -> str:
        """The kind of words that its value is one of, as `asked` takes it; "" if it is none of them."""
        return next((OFFERED[flag] for flag in self.flags if flag in OFFERED), "")

    @property
    def names_file(self) -> bool:
        """True if the value of the option is a path."""
        return bool(FILES.intersection(self.flags))


class Command(NamedTuple):
    """One command; "" is jobq itself. `takes`: the kind of its words: "jobs", "queues", "command", "words", ..."""

    name: str
    help: str
    options: tuple[Option, ...]
    takes: str
    words: tuple[str, ...] = ()


def bash(commands: Sequence[Command]) -> str:
    """Return the script for bash 3.2 and later."""
    names = " ".join(command.name for command in commands if command.name)
    words, values, files = [], [], []
    for command in commands:
        flags = " ".join(flag for option in command.options for flag in option.flags)
        offered = (
            f"{names} {flags}"
            if not command.name
            else f"{flags} {' '.join(JOBS)}"
            if command.takes == "jobs"
            else flags
        )
        if command.takes == "words":
            offered = f"{' '.join(command.words)} {flags}"
        if command.takes == "handlers":
            offered = f"{flags} $({HANDLERS})"
        if command.takes in ASKED:
            offered += f" $(_jobq_ask {command.takes})"
        words.append(f'        "{command.name}") words="{offered}" ;;')
        for option in command.options:
            keys = "|".join(f'"{command.name} {flag}"' for flag in option.flags)
            if option.values:
                values.append(
                    f'        {keys}) COMPREPLY=($(compgen -W "{" ".join(option.values)}" -- "$cur")); return ;;'
                )
            elif option.offered:
                asks = f'COMPREPLY=($(compgen -W "$(_jobq_ask {option.offered})" -- "$cur"))'
                files.append(f"        {keys}) {asks}; return ;;")
            elif option.names_file:
                files.append(f"        {keys}) _jobq_files; return ;;")
            elif option.takes_value:
                files.append(f"        {keys}) return ;;")
    taking = "|".join(sorted({flag for c in commands for o in c.options if o.takes_value for flag in o.flags}))
    running = "|".join(command.name for command in commands if command.takes == "command")
    return "\n".join(
        [
            "# bash completion for jobq",
            "_jobq_files() {",
            "    local IFS=$'\\n'",
            '    COMPREPLY=($(compgen -f -- "$cur"))',
            "    compopt -o filenames 2>/dev/null  # bash 4",
            "}",
            "_jobq_ask() {  # jobq is not started for an option or a state",
            f'    case "$cur" in -*|@*) ;; *) {asked("$1")} ;; esac',
            "}",
            "_jobq() {",
            '    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" command="" words="" i',
            '    local typed="${COMP_LINE:0:COMP_POINT}"',
            '    typed="${typed##*[[:space:]]}"',
            '    case "$typed" in @*) cur="$typed" ;; esac  # @ is a word of its own, but is replaced with the rest',
            "    for ((i = 1; i < COMP_CWORD; i++)); do",
            '        case "${COMP_WORDS[i]}" in',
            f"            {taking}) ((i++)) ;;",
            "            -*) ;;",
            "            *)",
            '                if [ -z "$command" ]; then',
            '                    command="${COMP_WORDS[i]}"',
            "                else",
            f'                    case "$command" in {running}) COMPREPLY=($(compgen -f -- "$cur")); return ;; esac',
            "                fi",
            "                ;;",
            "        esac",
            "    done",
            '    case "$command $prev" in',
            *values,
            *files,
            "    esac",
            '    case "$command" in',
            *words,
            "    esac",
            '    COMPREPLY=($(compgen -W "$words" -- "$cur"))',
            '    [ "${cur#-}" = "$cur" ] || return',
            f'    case "$command" in {running}) COMPREPLY=($(compgen -c -- "$cur")) ;; esac',
            "}",
            "complete -F _jobq jobq",
            "",
        ]
    )


def zsh(commands: Sequence[Command]) -> str:
    """Return the script for zsh 5, to be saved as _jobq in a folder of $fpath."""
    main, rest = commands[0], commands[1:]
    lines = [
        "#compdef jobq",
        "",
        "_jobq() {",
        "    local context state state_descr line",
        "    typeset -A opt_args",
        "    _arguments -C \\",
    ]
    lines += [f"        {spec} \\" for option in main.options for spec in _zsh_option(option)]
    lines += [
        "        '1: :->command' \\",
        "        '*:: :->words'",
        "    case $state in",
        "        command)",
        "            local -a commands",
        "            commands=(",
    ]
    lines += [f"                {_zsh_quote(f'{c.name}:{c.help}')}" for c in rest]
    lines += [
        "            )",
        "            _describe -t commands command commands",
        "            ;;",
        "        words)",
        "            case $line[1] in",
    ]
    for command in rest:
        lines += [f"                {command.name})", "                    _arguments -S \\"]
        lines += [f"                        {spec} \\" for option in command.options for spec in _zsh_option(option)]
        words = {
            "jobs": f"'*:job:{{compadd -- {' '.join(JOBS)} $({asked('jobs')})}}'",
            "queues": f"'1:queue:{{compadd -- $({asked('queues')})}}'",
            "command": "'*::command:_normal'",
            "words": f"'1:word:({' '.join(command.words)})'",
            "handlers": f"'1:function:{{compadd -- $({HANDLERS.replace(chr(39), chr(34))})}}' '*: :'",
            "": "'*: :'",
        }[command.takes]
        lines += [f"                        {words}", "                    ;;"]
    lines += ["            esac", "            ;;", "    esac", "}", "", '_jobq "$@"', ""]
    return "\n".join(lines)


def _zsh_option(option: Option) -> list[str]:
    value = ""
    if option.values:
        value = f":value:({' '.join(option.values)})"
    elif option.offered:
        value = f":{option.offered}:{{compadd -- $({asked(option.offered)})}}"
    elif option.takes_value:
        value = ":file:_files" if option.names_file else ":value:"
    text = option.help.replace("[", "(").replace("]", ")").replace(":", "\\:")
    others = " ".join(option.flags)
    return [_zsh_quote(f"({others}){flag}[{text}]{value}") for flag in option.flags]


def _zsh_quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def fish(commands: Sequence[Command]) -> str:
    """Return the script for fish 3."""
    names = " ".join(command.name for command in commands if command.name)
    lines = [
        "# fish completion for jobq",
        "complete -c jobq -f",
        f"set -l jobq_commands {names}",
    ]
    first = 'complete -c jobq -n "not __fish_seen_subcommand_from $jobq_commands"'
    for command in commands:
        condition = (
            f"-n '__fish_seen_subcommand_from {command.name}'"
            if command.name
            else '-n "not __fish_seen_subcommand_from $jobq_commands"'
        )
        if command.name:
            lines.append(f"{first} -a {command.name} -d {shlex.quote(command.help)}")
        for option in command.options:
            flags = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags)
            value = ""
            if option.values:
                value = f" -x -a {shlex.quote(' '.join(option.values))}"
            elif option.offered:
                value = f' -x -a "({asked(option.offered)})"'
            elif option.takes_value:
                value = " -r -F" if option.names_file else " -x"
            lines.append(f"complete -c jobq {condition} {flags}{value} -d {shlex.quote(option.help)}")
        if command.takes == "jobs":
            lines.append(f"complete -c jobq {condition} -a {shlex.quote(' '.join(JOBS))}")
            lines.append(f'complete -c jobq {condition} -k -a "({asked("jobs")})"')
        elif command.takes == "queues":
            lines.append(f'complete -c jobq {condition} -a "({asked("queues")})"')
        elif command.takes == "words":
            lines.append(f"complete -c jobq {condition} -a {shlex.quote(' '.join(command.words))}")
        elif command.takes == "handlers":
            lines.append(f'complete -c jobq {condition} -a "({HANDLERS})"')
        elif command.takes == "command":
            lines.append(f"complete -c jobq {condition} -a '(__fish_complete_subcommand)'")
    return "\n".join([*lines, ""])


SHELLS: dict[str, tuple[str, Callable[[Sequence[Command]], str]]] = {
    "bash": ("jobq.bash", bash),
    "zsh": ("_jobq", zsh),
    "fish": ("jobq.fish", fish),
}
