"""Runs inside a vLLM image: reads command lines as `vllm serve` would and says which it refuses; starts no engine.

python -c "$(cat vllm_parse.py)" '[["MODEL", "--flag"], ...]'    prints a list of messages, null where accepted
"""

import contextlib
import io
import json
import sys

from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.cli.serve import ServeSubcommand
from vllm.utils.argparse_utils import FlexibleArgumentParser

PARSER = FlexibleArgumentParser(prog="vllm")
SERVE = ServeSubcommand()
SERVE.subparser_init(PARSER.add_subparsers(dest="subparser"))


def refusal(argv: list[str]) -> str | None:
    """What vLLM says before it looks at the model, the last line of it; None when it says nothing."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            arguments = PARSER.parse_args(["serve", *argv])
            SERVE.validate(arguments)
            AsyncEngineArgs.from_cli_args(arguments)
    except SystemExit:
        return said.getvalue().strip().splitlines()[-1]
    except (TypeError, ValueError) as error:
        return str(error)
    return None


print(json.dumps([refusal(argv) for argv in json.loads(sys.argv[1])]))
