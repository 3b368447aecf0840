"""The store on a host: blobs by digest, hard-linked into the models' directories, each with its manifest.

<store>/.partial/<digest>   a transfer that is not finished or not verified
<store>/.blobs/<digest>     verified content, once, whatever names it has; its time tells (manifest.verified_time)
<store>/<model>/...         hard links to blobs, and the manifest, which is written last
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.models import manifest
from gpuwright.models.download import download, size_of
from gpuwright.models.remote import Remote, Variables
from gpuwright.models.sources import ModelFile, Resolved, resolve
from gpuwright.models.upload import upload
from gpuwright.plan.model import Model

_RESERVE_BYTES = 256 * 1024 * 1024

# In: "key size time" of every wanted blob. Out: free bytes, then "key blob-bytes partial-bytes", with `-` for no
# blob, and `?` before the bytes of one that somebody may have written to. A partial longer than the file is wrong.
# With `tidy`, what no wanted model needs is removed: it may be what fills the disk.
_INSPECT = """
bytes() { if [ -f "$1" ]; then stat -c %s "$1"; else echo 0; fi; }
wanted=' '
rows=''
while read -r key size time; do
  partial="$store/.partial/$key"
  if [ "$size" -gt 0 ] && [ "$(bytes "$partial")" -gt "$size" ]; then rm -f "$partial"; fi
  stored=-
  blob="$store/.blobs/$key"
  if [ -f "$blob" ]; then
    stored=$(bytes "$blob")
    if [ "$(stat -c '%Y %a %u:%g' "$blob")" != "$time 644 0:0" ]; then stored="?$stored"; fi
  fi
  rows="$rows$key $stored $(bytes "$partial")
"
  wanted="$wanted$key "
done
if [ "$tidy" = yes ]; then
  for partial in "$store/.partial"/*; do
    case "$wanted" in *" ${partial##*/} "*) ;; *) rm -f "$partial" ;; esac
  done
fi
stat -f -c '%a %S' "$store" | { read -r blocks block; echo $((blocks * block)); }
printf '%s' "$rows"
"""

_HASH = """
hashed() {
  case "$digest" in
    sha256:*) sha256sum <"$1" ;;
    *) { printf 'blob %d\\0' "$(stat -c %s "$1")"; cat "$1"; } | sha1sum ;;
  esac
}
mark() { chmod 0644 "$1" && chown 0:0 "$1" && touch -d "@$time" "$1"; }
"""

_VERIFY = f"""{_HASH}
partial="$store/.partial/$key"
: >>"$partial"
size=$(stat -c %s "$partial")
found=$(hashed "$partial")
if [ "${{found%% *}}" != "$key" ]; then
  rm -f "$partial"
  echo "${{found%% *}} $size"
  exit 0
fi
set -e
mark "$partial"
sync "$partial"
mv -f "$partial" "$store/.blobs/$key"
echo "$key $size"
"""

# The model's own name of it stays until there is something better.
_VERIFY_AGAIN = f"""{_HASH}
blob="$store/.blobs/$key"
found=$(hashed "$blob") || exit 1
if [ "${{found%% *}}" = "$key" ]; then
  mark "$blob" && echo right
else
  rm -f "$blob" && echo wrong
fi
"""

# In: "+key path" to link, "-path" to remove, "." and the manifest.
_LINK = f"""
set -e
mkdir -p "$directory"
# Killed from here on, what runs with the old files must be older than something.
if [ -f "$directory/{manifest.NAME}" ]; then touch "$directory/{manifest.NAME}"; fi
link="$directory/.gpuwright.link"
while IFS= read -r line; do
  case "$line" in
    +*)
      line=${{line#+}}
      target="$directory/${{line#* }}"
      blob="$store/.blobs/${{line%% *}}"
      mkdir -p "${{target%/*}}"
      # mv refuses two names of one file (coreutils 9.7), and leaves both (9.1).
      if [ "$blob" -ef "$target" ]; then continue; fi
      ln -f "$blob" "$link"
      mv -f -T "$link" "$target"
      ;;
    -*) rm -f "$directory/${{line#-}}" ;;
    *) break ;;
  esac
done
rm -f "$link"
cat >"$directory/{manifest.NAME}.new"
chmod 0644 "$directory/{manifest.NAME}.new"
chown 0:0 "$directory/{manifest.NAME}.new"
mv -f "$directory/{manifest.NAME}.new" "$directory/{manifest.NAME}"
find -H "$directory" -type d -exec chmod 0755 {{}} + -exec chown 0:0 {{}} +
find -H "$directory" -type f -exec chmod 0644 {{}} + -exec chown 0:0 {{}} +
"""

_DROP_UNUSED = 'find "$store/.blobs" -type f -links 1 -exec rm -f {} +'


@dataclass(frozen=True)
class _Blob:
    """A wanted file with its size where known, and what the host has of it, in bytes."""

    label: str
    file: ModelFile
    size: int | None
    stored: bool
    partial: int


def store(remote: Remote, models: tuple[Model, ...], previous: dict[str, tuple[str, ...]]) -> None:
    """Bring `models` into the store; `previous` are the files that old manifests list, by directory.

    One model's failure does not keep the others away. Raises GpuwrightError with all refusals at the end.
    """
    refusals: list[Refusal] = []
    resolved: list[Resolved] = []
    for model in models:
        try:
            _check_place(remote, model)
            resolved.append(resolve(model))
        except GpuwrightError as error:
            refusals += error.refusals
    if not resolved:
        raise GpuwrightError(*refusals)  # the host is not touched for what cannot be had
    # Without the list of a model that could not be resolved, nobody can say that a partial is not its own.
    blobs = _inspect(remote, resolved, tidy=not refusals)
    for each in resolved:
        try:
            _store_one(remote, each, blobs, previous.get(each.model.directory, ()))
        except GpuwrightError as error:
            refusals += error.refusals
    if refusals:
        raise GpuwrightError(*refusals)
    remote.must("model store", _DROP_UNUSED, {})


def _check_place(remote: Remote, model: Model) -> None:
    inside = model.directory.removeprefix(f"{remote.store}/")
    if inside == model.directory or not {"", ".", "..", ".partial", ".blobs"}.isdisjoint(inside.split("/")):
        raise GpuwrightError.of(
            f"model {model.name}",
            f"its directory is {model.directory}",
            f"a directory below {remote.store}",
            "Correct the model's directory",
        )


def _inspect(remote: Remote, resolved: Iterable[Resolved], tidy: bool) -> dict[str, _Blob]:
    """What is wanted and what is there. Raises GpuwrightError where the disk is too small for the rest."""
    files = {file.key: (each, file) for each in resolved for file in each.files}
    wanted = "".join(
        f"{key} {file.size or 0} {manifest.verified_time(file.digest)}\n" for key, (_, file) in files.items()
    )
    free, *rows = remote.must("model store", _INSPECT, {"tidy": "yes" if tidy else "no"}, wanted)
    blobs: dict[str, _Blob] = {}
    for key, stored, partial in (row.split(" ") for row in rows):
        each, file = files[key]
        label = each.model.name if len(each.files) == 1 else f"{each.model.name}: {file.path}"
        if stored.startswith("?"):
            stored = stored[1:] if _still_right(remote, label, file) else "-"
        if stored != "-":
            size: int | None = int(stored)
        else:
            size = file.size if file.size is not None else size_of(remote, file)
        blobs[key] = _Blob(label, file, size, stored != "-", int(partial))
    missing = [blob for blob in blobs.values() if not blob.stored]
    needed = sum(max(0, (blob.size or 0) - blob.partial) for blob in missing)
    if needed and needed + _RESERVE_BYTES > int(free):
        raise GpuwrightError.of(
            f"model store {remote.store}",
            f"{int(free) / 1e6:.0f} MB are free",
            f"{(needed + _RESERVE_BYTES) / 1e6:.0f} MB: {needed / 1e6:.0f} MB of model files still to come "
            f"({', '.join(blob.label for blob in missing[:4])}) and {_RESERVE_BYTES / 1e6:.0f} MB in reserve",
            "Free space there, mount a larger disk, or declare fewer models; nothing was transferred",
        )
    return blobs


def _store_one(remote: Remote, each: Resolved, blobs: dict[str, _Blob], previous: tuple[str, ...]) -> None:
    began = time.monotonic()
    sizes: dict[str, int] = {}
    for file in each.files:
        blob = blobs[file.key]
        if not blob.stored:
            _transfer(remote, blob)
            sizes[file.key] = _verify(remote, blob)
            blobs[file.key] = _Blob(blob.label, file, sizes[file.key], True, 0)
    _link(remote, each, {key: blob.size or 0 for key, blob in blobs.items()}, previous)
    seconds = time.monotonic() - began
    total = sum(sizes.values())
    rate = f" ({total / 1e6 / seconds:.0f} MB/s)" if total else ""
    remote.say(
        f"{each.model.name}: {total / 1e6:.0f} MB fetched, verified and stored in {seconds:.1f} s{rate}"
    )


def _transfer(remote: Remote, blob: _Blob) -> None:
    if isinstance(blob.file.where, Path):
        upload(remote, blob.label, blob.file, blob.partial)
    else:
        download(remote, blob.label, blob.file, blob.size)


def _verify(remote: Remote, blob: _Blob) -> int:
    """Move a complete partial to the blobs and give its size in bytes.

    Raises GpuwrightError, with the partial removed, where its digest is another one.
    """
    file = blob.file
    (answer,) = remote.must(blob.label, _VERIFY, _content(file))
    found, size = answer.split(" ")
    if found != file.key:
        kind = file.digest.partition(":")[0]
        raise GpuwrightError.of(
            f"model {blob.label}",
            f"{file.shown} gave {size} bytes with {kind} {found}",
            f"{kind} {file.key}",
            "The download was removed. Correct the digest if the source is right, else the source",
        )
    return int(size)


def _still_right(remote: Remote, label: str, file: ModelFile) -> bool:
    """Read a stored file again that somebody may have written to; one with another digest is given up."""
    remote.say(f"{label}: may have been written to since it was verified; reading it again")
    (answer,) = remote.must(label, _VERIFY_AGAIN, _content(file))
    if answer == "wrong":
        remote.say(f"{label}: its content is another one now; fetching it again")
    return answer == "right"


def _content(file: ModelFile) -> Variables:
    time_s = manifest.verified_time(file.digest)
    return {"key": file.key, "digest": file.digest, "time": time_s}


def _link(remote: Remote, each: Resolved, sizes: dict[str, int], previous: tuple[str, ...]) -> None:
    stored = tuple(manifest.StoredFile(file.path, sizes[file.key], file.digest) for file in each.files)
    text = manifest.Manifest(each.source, stored, each.commit).to_text()
    lines = [f"+{file.key} {file.path}" for file in each.files]
    lines += [f"-{path}" for path in previous if path not in {file.path for file in each.files}]
    stdin = "\n".join([*lines, ".", text])
    remote.must(f"model {each.model.name}", _LINK, {"directory": each.model.directory}, stdin)
