"""The base image of a sandbox host: built once from Debian packages, then found by its recipe's hash."""

from __future__ import annotations

import tempfile
from http import HTTPStatus
from pathlib import Path

import docker
from docker.errors import APIError, ImageNotFound

from gpuwright.sandbox import root_tar
from gpuwright.sandbox.recipe import Recipe

CACHE_LABEL = "gpuwright.cache"


def ensure(client: docker.DockerClient, recipe: Recipe, work: Path) -> str:
    """The image's tag, after building it when the engine lacks it (30 to 90 s, about 60 MB of downloads).

    `work` holds the root file system (about 200 MB) and the log while it is built.
    """
    if not exists(client, recipe):
        _build(client, recipe, work)
    return recipe.tag


def exists(client: docker.DockerClient, recipe: Recipe) -> bool:
    """Is the image of exactly this recipe in the engine?"""
    try:
        client.images.get(recipe.tag)
    except ImageNotFound:
        return False
    return True


def remove_cached(client: docker.DockerClient) -> None:
    """Remove every image that a sandbox built; one that a host still uses stays."""
    for image in client.images.list(filters={"label": CACHE_LABEL}):
        for tag in image.tags:
            try:
                client.images.remove(tag)
            except APIError as error:
                if error.status_code != HTTPStatus.CONFLICT:
                    raise


def _build(client: docker.DockerClient, recipe: Recipe, work: Path) -> None:
    """Make a root file system and import it. The script goes inline: an unprivileged build may be
    unable to read a private directory."""
    work.mkdir(parents=True, exist_ok=True)
    arguments = [
        "--variant=minbase",
        f"--include={','.join(recipe.packages)}",
        f"--customize-hook={recipe.setup}",
    ]
    with tempfile.TemporaryDirectory(dir=work, prefix="base-") as scratch:
        archive = Path(scratch) / "root.tar"
        log = work / f"{recipe.os}.log"
        root_tar.make(archive, recipe.suite, recipe.sources, recipe.apt_options, arguments, log)
        repository, _, tag = recipe.tag.partition(":")
        changes = [f'LABEL {CACHE_LABEL}="{recipe.os}"', 'CMD ["/usr/local/sbin/sandbox-init"]']
        client.api.import_image_from_file(str(archive), repository=repository, tag=tag, changes=changes)
