"""Container images: pulled by digest, or copied from the control machine by id."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import FunctionCommand, PyinfraCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from typing_extensions import override

from gpuwright import control_images
from gpuwright.errors import GpuwrightError
from gpuwright.models.cache import sha256
from gpuwright.models.remote import Remote
from gpuwright.models.sources import ModelFile
from gpuwright.models.upload import upload
from gpuwright.operations.readings import Lines, Pairs
from gpuwright.operations.shell import failed, script, show
from gpuwright.plan.model import Image
from gpuwright.plan.network import REGISTRY_LOGINS

TRANSFERS = "/var/lib/gpuwright/images"
_OFFSET = 'if [ -f "$store/.partial/$key" ]; then stat -c %s "$store/.partial/$key"; else echo 0; fi'
_LOAD = """
archive="$store/.partial/$key"
found=$(sha256sum <"$archive")
if [ "${found%% *}" != "$key" ]; then rm -f "$archive"; echo "the archive arrived damaged and was removed"; exit 1; fi
docker load --quiet --input "$archive" || exit 1
rm -f "$store/.partial"/*
docker image inspect "$image" >/dev/null 2>&1 && exit 0
echo "the engine gave it another id than $image; its containerd image store does: use a registry there"
exit 1
"""


class ImageIds(Pairs):
    """The id of each asked image that the engine has; all are absent where there is no engine yet."""

    @override
    def command(self, references: tuple[str, ...]) -> StringCommand:
        return script(
            """
            command -v docker >/dev/null || exit 0
            for reference; do
                if id=$(docker image inspect --format '{{.Id}}' "$reference" 2>/dev/null); then
                    printf '%s\\t%s\\n' "$reference" "$id"
                fi
            done
            """,
            *references,
        )


class Transfers(Lines):
    """The files of transfers from the control machine that are not finished."""

    @override
    def command(self) -> StringCommand:
        return script(
            'for file in "$1"/.partial/*; do if [ -f "$file" ]; then echo "$file"; fi; done', TRANSFERS
        )


@operation()
def present(images: tuple[Image, ...]) -> Generator[PyinfraCommand]:
    """
    Pull or load the images that the engine lacks; a registry that does not answer is an error.

    + images: `registry` ones are pulled by digest, `local` ones are copied from the control machine by id
    """
    if not images:
        return
    there = host.get_fact(ImageIds, references=tuple(image.reference for image in images))
    for image in images:
        if image.reference in there:
            host.noop(f"the engine has {image.reference}")
            continue
        show(f"{image.source} image {image.reference}")
        if image.source == "registry":
            yield script(
                """
                if [ -f "$2" ]; then set -- "$1" --config "${2%/*}"; else set -- "$1"; fi
                image=$1; shift
                docker "$@" pull --quiet "$image" && exit 0
                echo "image $image: no answer or no such image; required: a registry that has it." >&2
                echo "Check the host's way to the registry, or copy an image and set inference_image_source=local." >&2
                exit 1
                """,
                image.reference,
                REGISTRY_LOGINS,
            )
        else:
            yield FunctionCommand(_load, (image.reference,), {})
    if there.keys() >= {image.reference for image in images}:
        # A run that was killed after the engine had loaded its archive.
        for path in host.get_fact(Transfers):
            yield script('rm -f "$1"', path)


def _load(state: State, host: Host, image_id: str) -> bool:
    """Copy an image of the control machine, resumed after a kill, and load it."""
    label = f"image {image_id.removeprefix('sha256:')[:12]}"
    host.log(f"{label}: local, copied from this machine's engine (inference_image_source)")
    try:
        archive = control_images.archive(image_id)
        file = ModelFile(archive.name, archive.stat().st_size, f"sha256:{sha256(archive)}", archive)
        remote = Remote(host, state, TRANSFERS)
        upload(remote, label, file, int(remote.must(label, _OFFSET, {"key": file.key})[-1]))
        remote.must(label, _LOAD, {"key": file.key, "image": image_id})
    except GpuwrightError as error:
        return failed(state, host, error.refusals)
    return True
