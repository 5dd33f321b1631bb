"""The envelope of all JSON that commands print: one document, with the version of its keys."""

from __future__ import annotations

import json
from typing import Any

VERSION = 1


def envelope(**content: Any) -> str:
    """Return one JSON document in printable ASCII."""
    return json.dumps({"jobq": VERSION, **content}).replace("\x7f", "\\u007f")
