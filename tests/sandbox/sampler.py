"""What any user of a machine can see of its processes, written down about every 20 ms while a test runs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

# Each line once: `cmdline TEXT`, `environ TEXT`, and `askpass MODE UID open|closed` for the helpers of sudo.
# The end of stdin ends it.
_PERL = r"""
$| = 1; my %seen; my @kinds = @ARGV;
while (1) {
    my @lines;
    for my $process (glob "/proc/[0-9]*") {
        for my $kind (@kinds) {
            open(my $file, "<", "$process/$kind") or next;
            local $/; my $text = <$file>; next unless length $text;
            $text =~ tr/\0\n/  /; push @lines, "$kind $text";
        }
    }
    for my $path (glob "/tmp/gpuwright-askpass-* /dev/shm/gpuwright-askpass-* /run/user/*/gpuwright-askpass-*") {
        my @stat = lstat $path or next;
        my $access = open(my $file, "<", $path) ? "open" : "closed";
        push @lines, sprintf "askpass %o %d %s", $stat[2] & 07777, $stat[4], $access;
    }
    for (@lines) { print "$_\n" unless $seen{$_}++ }
    my $ready = ""; vec($ready, 0, 1) = 1;
    last if select($ready, undef, undef, 0.02);
}
"""
ON_THIS_MACHINE = ("perl", "-e", _PERL, "cmdline")


def on_host(container: str) -> tuple[str, ...]:
    """The command of a sampler in `container`, as a user who owns nothing there."""
    return ("docker", "exec", "-i", "-u", "nobody", container, "perl", "-e", _PERL, "cmdline", "environ")


@contextmanager
def sampled(command: Sequence[str], log: Path) -> Iterator[None]:
    """Run a sampler with its lines in `log`, until the end of the block."""
    with log.open("wb") as file, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file) as process:
        try:
            yield
        finally:
            _close(process.stdin)
    assert process.returncode == 0


def _close(stdin: IO[bytes] | None) -> None:
    assert stdin is not None
    stdin.close()
