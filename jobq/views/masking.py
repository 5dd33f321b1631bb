"""Secrets that must not be shown: the values of variables that a person names, and of those whose names look so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

MASK = "***"
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
    """Hides secrets in text, and in bytes that come in pieces."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = list(secrets)
        self._bytes = [secret.encode("utf-8", "surrogateescape") for secret in self._secrets]
        self._rest = b""  # the last bytes, which may be the start of a secret

    def text(self, text: str) -> str:
        """Return the text without the secrets."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def feed(self, data: bytes) -> bytes:
        """Return what may be shown by now; the start of a secret is kept until more comes."""
        data = self._hidden(self._rest + data)
        keep = self._possible_start(data)
        self._rest = data[len(data) - keep :]
        return data[: len(data) - keep]

    def flush(self) -> bytes:
        """Return the rest: no more comes."""
        rest, self._rest = self._rest, b""
        return rest

    def _hidden(self, data: bytes) -> bytes:
        for secret in self._bytes:
            data = data.replace(secret, MASK.encode())
        return data

    def _possible_start(self, data: bytes) -> int:
        longest = max(map(len, self._bytes), default=0)
        for size in range(min(longest - 1, len(data)), 0, -1):
            if any(secret.startswith(data[len(data) - size :]) for secret in self._bytes):
                return size
        return 0


_secrets: list[str] = []
_masker = Masker(())


def hide(secrets: Iterable[str]) -> None:
    """Hide these in everything of jobs that this process shows from now on."""
    global _secrets, _masker  # noqa: PLW0603
    _secrets = list(secrets)
    _masker = Masker(_secrets)


def masked(text: str) -> str:
    """Return the text without what has to be hidden."""
    return _masker.text(text) if _secrets else text


def new_masker() -> Masker | None:
    """Return a masker for one stream of bytes; None if there is nothing to hide."""
    return Masker(_secrets) if _secrets else None
