"""Secrets taken out of everything that leaves a worker: a file on the host may hold some that we never wrote."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from gpuwright.drift.model import FileDiff, HostDrift, OperationDrift

MASK = "***"
# How many tokens a model may write is no secret.
_TOKEN = r"(?<!max_)(?<!completion_)(?<!prompt_)(?<!total_)token"
_SECRET_NAME = rf"(?:api[_-]?key|passw(?:or)?d|passphrase|secret|{_TOKEN}|credential|\"auth\")"
# `NAME_API_KEY=value`, `"token": "value"`, `password: value`
_ASSIGNED = re.compile(
    rf"(?i)([\w.-]*{_SECRET_NAME}[\w.-]*[\"']?[ \t]*[=:][ \t]*)(\"[^\"]*\"|'[^']*'|[^\s,}}]+)"
)
_IN_URL = re.compile(r"(://)[^/\s@'\"]+@")
_KEY_BLOCK = re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END|\Z)", re.DOTALL)


def secrets_of(data: Mapping[str, object]) -> tuple[str, ...]:
    """The values in a host's data whose names say that they are secret, the longest first."""
    found = {
        str(value)
        for name, value in data.items()
        if isinstance(value, str | int) and value and re.search(_SECRET_NAME, name, re.IGNORECASE)
    }
    return tuple(sorted(found - {"True", "False"}, key=len, reverse=True))


def masked(drift: HostDrift, secrets: Iterable[str]) -> HostDrift:
    """`drift` with each of `secrets`, and whatever looks like one, replaced by `***`.

    A line of a diff still shows that such a value differs, on both of its sides.
    """
    known = tuple(secrets)

    def clean(text: str) -> str:
        return mask_text(text, known)

    return HostDrift(
        drift.host,
        tuple(map(clean, drift.reasons)),
        tuple(
            OperationDrift(
                each.role,
                each.operation,
                each.status,
                tuple(map(clean, each.details)),
                tuple(FileDiff(diff.path, clean(diff.diff)) for diff in each.diffs),
                tuple(map(clean, each.commands)),
            )
            for each in drift.operations
        ),
    )


def mask_text(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without `secrets`, and without values that a name or a URL says are secret.

    >>> mask_text("LLAMA_API_KEY=abc http://me:pw@proxy:3128 model=ok")
    'LLAMA_API_KEY=*** http://***@proxy:3128 model=ok'
    """
    for secret in secrets:
        text = text.replace(secret, MASK)
    text = _KEY_BLOCK.sub(rf"\1 {MASK} \2", text)
    text = _ASSIGNED.sub(rf"\1{MASK}", text)
    return _IN_URL.sub(rf"\1{MASK}@", text)
