"""jobq schema"""

from __future__ import annotations

import json

from jobq.views.console import out
from jobq.views.schema import schema as whole_schema


def schema() -> None:
    """Print the JSON Schema of all JSON.

    It holds for each document that a command prints with --json, errors included.

    Examples: jobq schema > jobq.schema.json
    """
    out(*json.dumps(whole_schema(), indent=2).split("\n"))
