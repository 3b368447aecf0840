"""What leaves a worker holds no secret, and still says that something differs."""

from __future__ import annotations

import pytest
from pyinfra.api.command import FileUploadCommand, FunctionCommand, QuoteString, StringCommand
from pyinfra.api.hiddenvalue import HiddenValue

from gpuwright.drift.commands import WIDTH, readable
from gpuwright.drift.mask import mask_text, masked, secrets_of
from gpuwright.drift.model import FileDiff, HostDrift, OperationDrift
from gpuwright.operations.shell import script

PASSWORD = "hunter2-of-the-host"
DATA = {
    "_sudo_password": PASSWORD,
    "ssh_key": "/home/me/.ssh/id",
    "ssh_key_password": "of-the-key",
    "_sudo": True,
    "inference_port": 8080,
}


def test_known_secrets_are_found_by_the_names_of_host_data() -> None:
    assert set(secrets_of(DATA)) == {PASSWORD, "of-the-key"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "+LLAMA_API_KEY=0123456789abcdef\n+GPUWRIGHT_UID=999",
            "+LLAMA_API_KEY=***\n+GPUWRIGHT_UID=999",
        ),
        ('-  "identity-token": "abc def",\n', '-  "identity-token": ***,\n'),
        ("Proxy http://me:p%40ss@proxy.lab:3128;", "Proxy http://***@proxy.lab:3128;"),
        ("hf_token: abc", "hf_token: ***"),
        (f"sudo said {PASSWORD}!", "sudo said ***!"),
        ("-----BEGIN RSA PRIVATE KEY-----\nAAA\n-----END", "-----BEGIN RSA PRIVATE KEY----- *** -----END"),
        ("GPUWRIGHT_KEY_NAME=LLAMA_API_KEY\n=", "GPUWRIGHT_KEY_NAME=LLAMA_API_KEY\n="),
        ("restart docker.service --tokens 4", "restart docker.service --tokens 4"),
    ],
)
def test_what_looks_like_a_secret_is_masked_and_the_rest_stays(text: str, expected: str) -> None:
    assert mask_text(text, secrets_of(DATA)) == expected


def test_every_text_of_a_host_is_masked() -> None:
    operation = OperationDrift(
        "", "Stamp", "change", (PASSWORD,), (FileDiff("/etc/a", f"+{PASSWORD}"),), (f"echo {PASSWORD}",)
    )
    clean = masked(HostDrift("a", (f"said {PASSWORD}",), (operation,)), secrets_of(DATA))
    assert PASSWORD not in repr(clean)
    assert clean.reasons == ("said ***",)
    assert clean.operations[0].diffs == (FileDiff("/etc/a", "+***"),)
    assert clean.operations[0].commands == ("echo ***",)


def test_commands_are_one_readable_line() -> None:
    assert readable(script('chmod "$2" "$1"', "/etc/a", "0600")) == "chmod 0600 /etc/a"
    several = readable(script("set -e\nwhile shift; do :; done", "a", "b"))
    assert several == "set -e while shift; do :; done -- a b"
    assert readable(StringCommand(script('cat > "$1"', "/etc/a"), _stdin=PASSWORD)) == "cat > /etc/a"
    assert readable(FileUploadCommand("x", "/etc/a")) == "upload /etc/a"
    assert len(readable(StringCommand("echo " * 100))) <= WIDTH


def test_hidden_values_and_arguments_of_functions_are_not_shown() -> None:
    def _log_in(password: str) -> bool:
        """Log in at the registry.

        A second paragraph.
        """
        return bool(password)

    hidden = QuoteString(HiddenValue(PASSWORD))
    assert readable(StringCommand("sh", "-c", QuoteString('echo "$1"'), "sh", hidden)) == "echo *MASKED*"
    assert PASSWORD not in readable(StringCommand("echo", hidden))
    assert readable(FunctionCommand(_log_in, (PASSWORD,), {})) == "Log in at the registry"
