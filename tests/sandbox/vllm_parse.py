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

# No abbreviations here: argparse takes "--max-model" for --max-model-len, until another option begins like that.
PARSER = FlexibleArgumentParser(prog="vllm")
SERVE = ServeSubcommand()
SERVE.subparser_init(PARSER.add_subparsers(dest="subparser")).allow_abbrev = False


def refusal(argv: list[str]) -> str | None:
    """What vLLM says against the arguments before it looks at the model; None when it says nothing."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            arguments = PARSER.parse_args(["serve", *argv])
            SERVE.validate(arguments)
            AsyncEngineArgs.from_cli_args(arguments)
    except SystemExit:
        return said.getvalue().rpartition("error: ")[2].strip()
    except (TypeError, ValueError) as error:
        return str(error)
    return None


print(json.dumps([refusal(argv) for argv in json.loads(sys.argv[1])]))
