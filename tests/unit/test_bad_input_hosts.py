"""What sudo and SSH say, turned into the sentence for whoever wrote the inventory."""

from __future__ import annotations

import pytest

from gpuwright.access import denied


# As sudo 1.9.13 and 1.9.16 say it (Debian 12 and 13); those of sudo-rs from its sources.
@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        (["guest is not in the sudoers file."], "the SSH user has no sudo rights"),
        (
            ["Sorry, user guest is not allowed to execute '/usr/bin/sh -c id' as root on sbx1."],
            "the SSH user has no sudo rights",
        ),
        (["sudo-rs: I'm sorry guest. I'm afraid I can't do that"], "the SSH user has no sudo rights"),
        (
            ["Sorry, try again.", "Sorry, try again.", "sudo: 3 incorrect password attempts"],
            "sudo did not accept the password",
        ),
        (
            ["sudo-rs: Maximum 3 incorrect authentication attempts reached"],
            "sudo did not accept the password",
        ),
        (["sh: 1: sudo: not found"], "sudo is not installed"),
        (["Segmentation fault"], "the first command failed (Segmentation fault)"),
        ([], "the first command failed (no output)"),
    ],
)
def test_words_of_sudo_have_a_meaning(said: list[str], meaning: str) -> None:
    (refusal,) = denied(said).refusals
    assert refusal.observed.startswith(meaning)
    assert (refusal.subject, refusal.required) == ("root access", "commands that run as root")
