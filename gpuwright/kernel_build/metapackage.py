"""The package that hosts ask for: it has no files, and depends on the newest kernel of its kind and its headers."""

from __future__ import annotations

from gpuwright.kernel_build.builder import Builder
from gpuwright.kernel_build.compile import Package

_BUILD = """
rm -rf /build/metapackage
mkdir -p /build/metapackage/DEBIAN
printf '%s\\n' "$CONTROL" > /build/metapackage/DEBIAN/control
dpkg-deb --root-owner-group --build /build/metapackage "$DEB"
rm -r /build/metapackage
"""


def build(builder: Builder, name: str, image: Package, headers: Package) -> Package:
    """A metapackage as new as its kernel; with Debian's own (linux-image-amd64) headers are a second one."""
    made = Package(name, image.version, image.arch, f"/build/{name}.deb")
    builder.run("packaging the metapackage", _BUILD, control=control(made, image, headers), deb=made.path)
    return made


def control(made: Package, image: Package, headers: Package) -> str:
    """deb-control(5) of a metapackage that these two belong to."""
    fields = {
        "Package": made.name,
        "Version": made.version,
        "Architecture": made.arch,
        "Maintainer": "gpuwright <gpuwright@localhost>",
        "Section": "kernel",
        "Priority": "optional",
        "Depends": ", ".join(f"{each.name} (= {each.version})" for each in (image, headers)),
        "Description": f"newest kernel that gpuwright built, with its headers: {image.name}",
    }
    return "\n".join(f"{name}: {value}" for name, value in fields.items())
