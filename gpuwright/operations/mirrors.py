"""Mirrors of a vendor's repositories: the public place is set aside, so that apt has one of the two."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api.command import PyinfraCommand, StringCommand
from typing_extensions import override

from gpuwright.operations import apt_keys
from gpuwright.operations.files import FileStates
from gpuwright.operations.readings import Lines
from gpuwright.operations.shell import script, show, will_change
from gpuwright.plan.nvidia.mirror import MirroredRepository

APT = "/etc/apt"
# Whole files as they were. Not below /etc/apt: what is there counts as known to apt.
ASIDE = "/etc/gpuwright/mirrored"

# `without place FILE` prints a source file without what names the place, and ends with 0 where something does. One-line
# files by line, deb822 ones by stanza; comments and what is switched off name nothing.
WITHOUT = """
without() {
    case $2 in *.sources | *.sources.new) separator= ;; *) separator='\\n' ;; esac
    place=$1 awk -v RS="$separator" '
        function named(text,   at, next_one) {
            at = index(text, ENVIRON["place"])
            next_one = substr(text, at + length(ENVIRON["place"]), 1)
            return at && (next_one == "" || next_one ~ /[\\/ \\t\\n]/)
        }
        function active(text) {
            if (RS == "\\n") return text ~ /^[ \\t]*deb(-src)?[ \\t]/
            return text ~ /(^|\\n)[Uu][Rr][Ii]s:/ && text !~ /(^|\\n)[Ee]nabled:[ \\t]*([Nn]o|[Ff]alse)/
        }
        active($0) && named($0) { found = 1; next }
        { print (RS == "" && printed++ ? "\\n" : "") $0 }
        END { exit !found }
    ' "$2"
}
"""


class SourcesOf(Lines):
    """The files of apt's sources below `apt` that name one of `places` (URIs); those of gpuwright are left out."""

    @override
    def command(self, apt: str, places: tuple[str, ...]) -> StringCommand:
        return script(
            f"{WITHOUT}"
            """
            apt=$1; shift
            for file in "$apt/sources.list" "$apt"/sources.list.d/*.list "$apt"/sources.list.d/*.sources; do
                case $file in */gpuwright-*) continue ;; esac
                [ -f "$file" ] || continue
                for place; do
                    if without "$place" "$file" >/dev/null; then echo "$file"; break; fi
                done
            done
            """,
            apt,
            *map(_place, places),
        )


def taken(mirrors: tuple[MirroredRepository, ...]) -> Generator[PyinfraCommand]:
    """Commands that take mirrors in the place of what they mirror: its sources are set aside, keys are the mirror's."""
    if not mirrors:
        return
    places = tuple(each.public for each in mirrors)
    for file in host.get_fact(SourcesOf, apt=APT, places=places):
        show(
            f"{file}: {' '.join(places)} -> {' '.join(each.uri for each in mirrors)}; as it was: {ASIDE}{file}"
        )
        will_change(file)
        yield set_aside(file, places)
    keys = host.get_fact(FileStates, paths=tuple(apt_keys.path_of(each) for each in mirrors))
    for each in mirrors:
        if apt_keys.path_of(each) not in keys:
            yield apt_keys.fetched(each)


def set_aside(file: str, places: tuple[str, ...], aside: str = ASIDE) -> StringCommand:
    """Takes the places out of a source file, of which a copy is kept; one that is empty then goes."""
    return script(
        f"{WITHOUT}"
        """
        file=$1 kept=$2$1; shift 2
        umask 022
        trap 'rm -f "$kept.new" "$kept.less"' EXIT
        mkdir -p "${kept%/*}" && cp -p "$file" "$kept" && cp -p "$file" "$kept.new" || exit
        for place; do
            if without "$place" "$kept.new" >"$kept.less"; then cat "$kept.less" >"$kept.new" || exit; fi
        done
        if grep -qE '^[[:space:]]*(deb|deb-src|[Tt]ypes:)' "$kept.new"; then
            mv -f "$kept.new" "$file"
        else
            rm -f "$file"
        fi
        """,
        file,
        aside,
        *map(_place, places),
    )


def _place(uri: str) -> str:
    """A URI without scheme and last slash: sources have it as http, too."""
    return uri.partition("://")[2].rstrip("/")
