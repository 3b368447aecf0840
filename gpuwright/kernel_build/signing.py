"""Signing the kernel image with a site's Machine Owner Key, for hosts with Secure Boot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gpuwright.errors import GpuwrightError
from gpuwright.kernel_build.builder import SECRETS, Builder
from gpuwright.kernel_build.compile import Package

_CHECK = """
umask 077
printf '%s' "$KEY" > "$SECRETS/mok.key"
printf '%s' "$CERT" > "$SECRETS/mok.crt"
of_key=$(openssl pkey -in "$SECRETS/mok.key" -passin pass: -pubout)
of_cert=$(openssl x509 -in "$SECRETS/mok.crt" -noout -pubkey)
if [ "$of_key" = "$of_cert" ]; then echo pair; else echo strangers; fi
"""
# Packaging compiles a part anew, so the image is signed in its package. That one is made again with its own owners.
_SIGN = """
cd /build
rm -rf signed
dpkg-deb --raw-extract "$DEB" signed
image=signed/boot/vmlinuz-$RELEASE
sbsign --key "$SECRETS/mok.key" --cert "$SECRETS/mok.crt" --output "$image.signed" "$image"
mv "$image.signed" "$image"
sbverify --cert "$SECRETS/mok.crt" "$image"
(cd signed && find . -path ./DEBIAN -prune -o -type f -printf '%P\\0' | sort -z | xargs -0 md5sum > DEBIAN/md5sums)
dpkg-deb --root-owner-group --build signed "$DEB"
rm -r signed
"""


@dataclass(frozen=True)
class MachineOwnerKey:
    """A private key and its certificate, PEM. Neither is printed or kept."""

    key: str
    certificate: str

    def __repr__(self) -> str:
        return "MachineOwnerKey(***)"


def read(key: Path, certificate: Path) -> MachineOwnerKey:
    """The two files. GpuwrightError where they are not PEM, or the key has a passphrase that nobody could type."""
    texts = []
    for path, mark in ((key, "PRIVATE KEY"), (certificate, "CERTIFICATE")):
        try:
            text = path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise _wrong(path, f"cannot be read ({error})", f"PEM with a {mark}") from error
        if f"{mark}-----" not in text:
            raise _wrong(path, f"has no {mark}", f"PEM with a {mark}; `openssl` turns DER into it")
        texts.append(text)
    if "ENCRYPTED" in texts[0]:
        raise _wrong(
            key, "is encrypted", "a key without passphrase for the build (openssl pkey -in ... -out ...)"
        )
    return MachineOwnerKey(*texts)


def prepare(builder: Builder, mok: MachineOwnerKey) -> None:
    """Put the pair where the builder forgets it, before anything long begins. GpuwrightError: they are no pair."""
    said = builder.run(
        "reading the Machine Owner Key", _CHECK, key=mok.key, cert=mok.certificate, secrets=SECRETS
    )
    if said.split() != ["pair"]:
        raise GpuwrightError.of(
            "Machine Owner Key",
            "the certificate is of another key",
            "a key and its certificate",
            "Give the pair that was enrolled with mokutil.",
        )


def sign(builder: Builder, image: Package, release: str) -> None:
    """Sign the kernel in its package and prove the signature."""
    builder.run("signing the kernel", _SIGN, deb=image.path, release=release, secrets=SECRETS)


def _wrong(path: Path, observed: str, required: str) -> GpuwrightError:
    return GpuwrightError.of(
        f"Machine Owner Key {path}", observed, required, "Correct --mok-key or --mok-cert."
    )
