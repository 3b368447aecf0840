"""Images of the control machine's engine as archives that hosts without a registry can load."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from docker.errors import DockerException, ImageNotFound

from gpuwright.errors import GpuwrightError
from gpuwright.paths import state_dir
from gpuwright.sandbox.engine import connect


def archive(image_id: str) -> Path:
    """The image as a docker-archive tar, made once per id under the state directory's cache.

    GpuwrightError when no engine answers or the engine does not know the image.
    """
    path = state_dir() / "cache" / "images" / f"{image_id.removeprefix('sha256:')}.tar"
    if not path.exists():
        export(image_id, path)
    return path


def export(image_id: str, to: Path) -> None:
    """Write the image to `to`; `docker load` (20.10 and newer) gives it the same id there."""
    client = connect()
    to.parent.mkdir(parents=True, exist_ok=True)
    # Hosts are served at the same time, each from its own greenlet: every export has its own name.
    beside = to.with_name(f".{to.name}.{uuid4().hex}")
    try:
        with beside.open("wb") as stream:
            for chunk in client.images.get(image_id).save():
                stream.write(chunk)
        beside.replace(to)
    except ImageNotFound as error:
        raise GpuwrightError.of(
            f"image {image_id}",
            "unknown to this machine's Docker engine",
            "an image built or pulled here",
            "For the sandbox's image run `gpuwright sandbox up`.",
        ) from error
    except DockerException as error:
        raise GpuwrightError.of(
            f"image {image_id}", f"could not be saved ({error})", "a working Docker engine", "Try again."
        ) from error
    finally:
        beside.unlink(missing_ok=True)
