"""A copy of NVIDIA's repositories that is taken instead of them."""

from __future__ import annotations

from dataclasses import dataclass

from gpuwright.plan.model import AptRepository


@dataclass(frozen=True)
class MirroredRepository(AptRepository):
    """A repository with the index and the key of the one at `public`, in whose place it is taken."""

    public: str


def mirrored(repository: AptRepository, base: str, mirror: str) -> MirroredRepository:
    """The copy below `mirror` of a repository below `base`."""
    return MirroredRepository(
        repository.name,
        _moved(repository.uri, base, mirror),
        repository.suite,
        repository.components,
        repository.architecture,
        _moved(repository.key_url, base, mirror),
        repository.key_fingerprint,
        public=repository.uri,
    )


def _moved(uri: str, base: str, mirror: str) -> str:
    return f"{mirror.rstrip('/')}/{uri.removeprefix(base)}"
