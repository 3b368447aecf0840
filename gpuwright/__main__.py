"""The console script, and `python -m gpuwright`: Ctrl-C ends it without a word, also while it is still importing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

INTERRUPTED = 130  # 128 + SIGINT


def main() -> None:
    """Run the command line and end with its exit code."""
    _open_what_is_closed()
    try:
        from gpuwright.cli import run  # most of a second

        code = run()
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OSError as error:
        if error.filename is not None:
            raise
        code = _not_written(error)
    sys.exit(code)


def _open_what_is_closed() -> None:
    """A caller that closed stdin, stdout or stderr (`<&-`) leaves None there, which no library expects."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115  # as long as the process


def _not_written(error: OSError) -> int:
    """The output's end went away (`| head`), or its disk is full; flushing again at exit would print a traceback."""
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # as long as the process
    if not isinstance(error, BrokenPipeError):
        sys.stderr.write(f"output: could not be written ({error.strerror}); required: a place to write to.\n")
    return 1


if __name__ == "__main__":
    main()
