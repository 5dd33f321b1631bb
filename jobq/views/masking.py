"""Secrets that must not be shown: the values of variables that a person names, and of those whose names look so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from typing import Any

MASK = "***"
NEVER = "(?!)"  # matches nothing
LOOKING_SECRET = (
    *("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL"),
    *("API_KEY", "APIKEY", "ACCESS_KEY", "PRIVATE_KEY"),
)
SHORTEST = 6  # characters of a value that is hidden because of the name of its variable: "true" is no secret


def secrets_of(variables: Mapping[str, str], named: Iterable[str] = ()) -> list[str]:
    """Return the values to hide, also each line of those of several lines; `named`: whatever their length."""
    found = {variables[name] for name in named if variables.get(name)}
    for name, value in variables.items():
        if any(word in name.upper() for word in LOOKING_SECRET):
            found |= {part for part in (value, *value.splitlines()) if len(part) >= SHORTEST}
    for value in list(found):
        found |= {line for line in value.splitlines() if len(line) >= SHORTEST}
    return sorted(found, key=len, reverse=True)


class Masker:
    """Hides secrets in text, and in bytes that come in pieces; where one begins as another, the longer counts."""

    def __init__(self, secrets: Iterable[str]) -> None:
        import re  # noqa: PLC0415  # most lists have nothing to hide, and do without it

        longest_first = sorted(set(secrets), key=len, reverse=True)
        self._text = re.compile("|".join(map(re.escape, longest_first)) or NEVER)
        self._secrets = [secret.encode("utf-8", "surrogateescape") for secret in longest_first]
        self._bytes = re.compile(b"|".join(map(re.escape, self._secrets)) or NEVER.encode())
        self._rest = b""  # the last bytes, which may be the start of a secret

    def text(self, text: str) -> str:
        """Return the text without the secrets."""
        return self._text.sub(MASK, text)

    def feed(self, data: bytes) -> bytes:
        """Return what may be shown by now; the start of a secret is kept until more comes."""
        data, at, done = self._rest + data, 0, []
        while True:
            found, start = self._bytes.search(data, at), self._possible_start(data, at)
            if found is None or start <= found.start():
                break
            done += [data[at : found.start()], MASK.encode()]
            at = found.end()
        self._rest = data[start:]
        return b"".join([*done, data[at:start]])

    def flush(self) -> bytes:
        """Return the rest: no more comes."""
        rest, self._rest = self._rest, b""
        return self._bytes.sub(MASK.encode(), rest)

    def _possible_start(self, data: bytes, at: int) -> int:
        """Return where the first secret may begin that more bytes would complete; the end of the data if none does."""
        longest = max(map(len, self._secrets), default=0)
        for start in range(max(at, len(data) - longest + 1), len(data)):
            if any(len(secret) > len(data) - start and secret.startswith(data[start:]) for secret in self._secrets):
                return start
        return len(data)


def masked_data(value: Any) -> Any:
    """Return JSON data with the secrets hidden in all its texts."""
    if isinstance(value, str):
        return masked(str(value))
    if isinstance(value, dict):
        return {masked(name): masked_data(inner) for name, inner in value.items()}
    return [masked_data(inner) for inner in value] if isinstance(value, (list, tuple)) else value


_secrets: list[str] = []
_masker: Masker | None = None  # of whole texts


def hide(secrets: Iterable[str]) -> None:
    """Hide these in everything of jobs that this process shows from now on."""
    global _secrets, _masker  # noqa: PLW0603
    _secrets = list(secrets)
    _masker = new_masker()


def masked(text: str) -> str:
    """Return the text without what has to be hidden."""
    return text if _masker is None else _masker.text(text)


def new_masker() -> Masker | None:
    """Return a masker for one stream of bytes; None if there is nothing to hide."""
    return Masker(_secrets) if _secrets else None
