"""The output of a job as a terminal would show it in the end, line by line, without harmful control sequences.

A line is edited as terminals do it (ECMA-48): carriage return, backspace, tab, and the control sequences that move
within the line or erase parts of it. Colours and other styles (SGR) stay, but end with the line. Every other sequence
that a terminal would obey is left out. Incomplete sequences and other control characters are shown escaped.
"""

from __future__ import annotations

import codecs
import re

from jobq.views import ENCODING, ERRORS
from jobq.views.text import safe

RESET = "\x1b[0m"
WIDEST = 1 << 12  # columns that a control sequence may move to
LONGEST = 1 << 16  # characters of an unfinished line that are held
TAB = 8

SEQUENCE = re.compile(
    r"\x1b\[(?P<numbers>[0-?]*)[ -/]*(?P<final>[@-~])"  # CSI
    r"|\x1b[]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)"  # OSC, DCS, SOS, PM, APC: strings for the terminal
    r"|\x1b[ -/]+[0-~]|\x1b[0-OQ-WYZ\\`-~]"  # character sets, saved cursors, keypads, resets
    r"|(?P<control>[\r\b\t\x00\x07\x0e\x0f])"
)
COLOUR = re.compile(r"\x1b\[([0-9;:]*)m")
UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[ -/]*|[]PX^_][^\x07\x1b\n]{0,4096}\x1b?)?\Z")
EDITED = re.compile(r"[\r\b\x00\x07\x0e\x0f]|\x1b(?!\[[0-9;:]*m)")  # controls that do more than print and colour
OFF = {"22": ("1", "2"), "23": ("3", "20"), "24": ("4", "21"), "25": ("5", "6"), "27": ("7",), "28": ("8",),
       "29": ("9",), "39": ("ink",), "49": ("paper",), "59": ("line",)}  # fmt: skip


def shown(data: bytes) -> str:
    """Return the output with each line in its final form. Styles are reset at the end of each line."""
    text = ShownOutput()
    return text.feed(data) + text.open_line()


class ShownOutput:
    """A converter for output that comes in pieces. `coloured` False: without colours and other styles, too."""

    def __init__(self, *, coloured: bool = True) -> None:
        self._coloured = coloured
        self._decode = codecs.getincrementaldecoder(ENCODING)(ERRORS).decode
        self._rest = ""  # an incomplete control sequence
        self._style = Style()
        self._line = Line()

    def feed(self, data: bytes) -> str:
        """Return the lines that these bytes complete, newlines included."""
        text = self._rest + self._decode(data)
        *lines, rest = text.split("\n")
        done = "".join(f"{self._completed(line)}\n" for line in lines)
        unfinished = UNFINISHED.search(rest)
        cut = len(rest) if unfinished is None else unfinished.start()
        self._rest = rest[cut:]
        self._line.edit(rest[:cut], self._style)
        if len(self._line.cells) > LONGEST:
            done += str(self._line)
            self._line = Line()
        return self._styled(done)

    def open_line(self) -> str:
        """Return the line that has no newline yet, as it looks now."""
        return self._styled(str(self._line) + safe(self._rest))

    def _styled(self, text: str) -> str:
        return text if self._coloured else COLOUR.sub("", text)

    def _completed(self, text: str) -> str:
        if not self._line.cells and not self._line.at and not EDITED.search(text.rstrip("\r")):
            return self._plain(text.rstrip("\r"))
        self._line.edit(text, self._style)
        whole, self._line = str(self._line), Line()
        return whole

    def _plain(self, text: str) -> str:
        """Return a line without cursor moves, with its tabs."""
        parts, at = [str(self._style)], 0
        for colour in COLOUR.finditer(text):
            parts += [_safe_but_tabs(text[at : colour.start()]), colour.group()]
            at = colour.end()
            self._style.change(colour.group(1))
        return "".join([*parts, _safe_but_tabs(text[at:]), RESET if self._style.codes else ""])


def _safe_but_tabs(text: str) -> str:
    return "\t".join(map(safe, text.split("\t")))


class Style:
    """The styles that are on: one code for each kind, so that their number is limited."""

    def __init__(self) -> None:
        self.codes: dict[str, str] = {}

    def __str__(self) -> str:
        return f"\x1b[{';'.join(self.codes.values())}m" if self.codes else ""

    def change(self, numbers: str) -> None:
        """Apply the parameters of an SGR sequence."""
        units = iter(numbers.split(";"))
        for unit in units:
            number = unit.partition(":")[0].lstrip("0") or "0"
            if number in {"38", "48", "58"} and ":" not in unit:
                mode = next(units, "")
                unit = ";".join([unit, mode, *(next(units, "0") for _ in range({"2": 3, "5": 1}.get(mode, 0)))])  # noqa: PLW2901
            if number == "0":
                self.codes.clear()
            elif number in OFF:
                for kind in OFF[number]:
                    self.codes.pop(kind, None)
            elif len(number) <= 3 and number.isdecimal():
                self.codes[_kind(int(number))] = unit


def _kind(number: int) -> str:
    if 30 <= number <= 38 or 90 <= number <= 97:
        return "ink"
    if 40 <= number <= 48 or 100 <= number <= 107:
        return "paper"
    return "line" if number == 58 else str(number)


class Line:
    """One line of a terminal: its characters, each with its style, and the column of the next one."""

    def __init__(self) -> None:
        self.cells: list[tuple[str, str]] = []
        self.at = 0

    def __str__(self) -> str:
        """Return the line with its styles, and a reset after the last style."""
        parts, before = [], ""
        for char, style in self.cells:
            if style != before:
                parts += [RESET if before else "", style]
                before = style
            parts.append(char)
        return "".join(parts) + (RESET if before else "")

    def edit(self, text: str, style: Style) -> None:
        """Apply this text, which has no newline, to the line. Its SGR sequences change `style`."""
        at = 0
        for sequence in SEQUENCE.finditer(text):
            self._put(safe(text[at : sequence.start()]), str(style))
            at = sequence.end()
            if sequence["final"] == "m" and not sequence["numbers"].lstrip("0123456789;:"):
                style.change(sequence["numbers"])
            elif sequence["final"]:
                self._control(sequence["final"], sequence["numbers"])
            elif sequence["control"]:
                self._move_by(sequence["control"])
        self._put(safe(text[at:]), str(style))

    def _put(self, text: str, style: str) -> None:
        if text:
            self._reach(self.at)
            self.cells[self.at : self.at + len(text)] = [(char, style) for char in text]
            self.at += len(text)

    def _reach(self, column: int) -> None:
        self.cells += [(" ", "")] * (column - len(self.cells))

    def _move_by(self, control: str) -> None:
        if control == "\r":
            self.at = 0
        elif control == "\b":
            self.at = max(0, self.at - 1)
        elif control == "\t":
            self.at = min(self.at + TAB - self.at % TAB, max(LONGEST, self.at))
        # The others ring the bell, switch character sets, or do nothing.

    def _control(self, final: str, numbers: str) -> None:
        """Apply a control sequence that stays within the line; ignore all others."""
        first = numbers.partition(";")[0]
        number = min(int(first), WIDEST) if first.isdecimal() and len(first) < 9 else WIDEST if first.isdecimal() else 0
        count, at = max(number, 1), self.at
        if final == "K" and number == 0:
            del self.cells[at:]
        elif final == "K" and number == 1:
            self._blank(0, at + 1)
        elif final == "K" and number == 2:
            self.cells.clear()
        elif final == "C":
            self.at = min(at + count, max(WIDEST, at))
        elif final == "D":
            self.at = max(0, at - count)
        elif final in "G`":
            self.at = count - 1
        elif final == "P":
            del self.cells[at : at + count]
        elif final == "X":
            self._blank(at, at + count)
        elif final == "@" and at < len(self.cells):
            width = max(WIDEST, len(self.cells))  # characters pushed out at the right are lost, as on a terminal
            self.cells[at:at] = [(" ", "")] * min(count, width - at)
            del self.cells[width:]

    def _blank(self, start: int, end: int) -> None:
        end = min(end, len(self.cells))
        self.cells[start:end] = [(" ", "")] * max(0, end - start)
