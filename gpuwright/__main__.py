"""The console script, and `python -m gpuwright`: Ctrl-C ends it without a word, also while it is still importing."""

from __future__ import annotations

import sys

INTERRUPTED = 130  # 128 + SIGINT


def main() -> None:
    """Run the command line and end with its exit code."""
    try:
        from gpuwright.cli import run  # most of a second

        code = run()
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
