"""A repository's key: checked before anything trusts it, so that it does not matter which way it came."""

from __future__ import annotations

from pyinfra.api.command import StringCommand

from gpuwright.operations.shell import script
from gpuwright.plan.model import AptRepository
from gpuwright.plan.network import PROXY_ENV

KEYRINGS = "/etc/apt/keyrings"


def path_of(repository: AptRepository) -> str:
    """Where its key is on the host."""
    return f"{KEYRINGS}/gpuwright-{repository.name}.asc"


def fetched(repository: AptRepository) -> StringCommand:
    """Brings its key; one with another fingerprint than the catalogue's is thrown away and fails the host."""
    return script(
        """
        if [ -r "$4" ]; then . "$4"; fi
        umask 022; mkdir -p "$(dirname "$1")"
        trap 'rm -f "$1.new"' EXIT
        curl --fail --silent --show-error --location --proto =https,http,file --proto-redir =https,http --retry 3 \\
            --output "$1.new" "$2" || exit
        # All primary keys of the file: a second one would be trusted as well.
        found=$(gpg --show-keys --with-colons "$1.new" |
            awk -F: '$1 == "pub" { primary = 1 } $1 == "fpr" && primary { print $10; primary = 0 }')
        if [ "$found" != "$3" ]; then
            echo "key $2: fingerprint ${found:-none}; required: $3. Do not trust it; ask the vendor." >&2
            exit 1
        fi
        mv -f "$1.new" "$1"
        """,
        path_of(repository),
        repository.key_url,
        repository.key_fingerprint,
        PROXY_ENV,
    )
