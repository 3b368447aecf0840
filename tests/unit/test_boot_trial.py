"""What is next on the way to the planned boot, from whatever a run that was killed left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpuwright.operations.boot_facts import Booted
from gpuwright.operations.boot_menu import FALLBACK, TRIAL, Entry, Menu, Trial
from gpuwright.operations.boot_trial import Situation, Step, next_step, problems
from gpuwright.plan.stack_model import BootPlan

OLD, NEW = "6.12.117+deb13-amd64", "6.12.117+deb13-cloud-amd64"
WORDS = ("iommu=pt",)
BOOT = BootPlan("linux-image-cloud-amd64", WORDS, "grub", "grubenv", (), False)
KEPT = replace(BOOT, image="")
SIMPLE = Entry("simple", NEW, ("ro", *WORDS), (), first=True)
ENTRIES = (SIMPLE, Entry("adv>new", NEW, ("ro", *WORDS), ()), Entry("adv>old", OLD, ("ro", *WORDS), ()))
NOTE = Trial(NEW, WORDS, "s1", "b1", ("old.service",))


def at(
    release: str,
    words: str = "ro",
    *,
    boot_id: str = "b1",
    default: str = FALLBACK,
    once: str = "",
    note: Trial | None = None,
    armed: str = "",
    target: str = NEW,
    entries: tuple[Entry, ...] = ENTRIES,
) -> Situation:
    return Situation(Booted(release, words, boot_id), target, Menu(entries, default, once, armed), note, "s1")


TRIED = "ro iommu=pt panic=30 oops=panic gpuwright.trial=b1"


@pytest.mark.parametrize(
    ("now", "step"),
    [
        (at(OLD, default=""), Step.BOOT),  # a fresh host
        (at(OLD), Step.BOOT),  # killed after what runs became the default
        (at(OLD, once=TRIAL), Step.BOOT),  # killed between the choice and the note
        (at(OLD, once=TRIAL, note=NOTE), Step.BOOT),  # killed before the reboot
        (at(OLD, note=NOTE), Step.BOOT),  # the same boot still: it was not tried yet
        (at(OLD, note=NOTE, boot_id="b2"), Step.CAME_BACK),
        (at(OLD, note=NOTE, boot_id="b2", once=TRIAL), Step.BOOT),  # somebody rebooted by another way
        (at(OLD, note=NOTE.ended("panicked"), boot_id="b2"), Step.REPORT),
        (at(OLD, note=replace(NOTE, stamp="s0").ended("panicked"), boot_id="b2"), Step.BOOT),  # rebuilt since
        (
            at(OLD, note=replace(NOTE, words=()).ended("panicked"), boot_id="b2"),
            Step.BOOT,
        ),  # other words since
        (at(NEW, TRIED, boot_id="b2", armed="b1", note=NOTE), Step.JUDGE),  # killed after the reboot
        (at(NEW, TRIED, boot_id="b2", armed="b1"), Step.JUDGE),  # the same, and killed before the note
        (
            at(NEW, TRIED, boot_id="b2", armed="b1", default="adv>new", note=NOTE),
            Step.JUDGE,
        ),  # while it settled
        (
            at(NEW, TRIED, boot_id="b2", default="adv>new", note=NOTE),
            Step.SETTLE,
        ),  # killed when it had settled
        (at(NEW, TRIED, boot_id="b2", default="adv>new"), Step.NOTHING),
        (at(NEW, TRIED, boot_id="b2"), Step.SETTLE),  # it stayed; then a word was dropped
        (at(NEW, TRIED, boot_id="b2", armed="b2", once=TRIAL), Step.SETTLE),  # another trial was called off
        (at(NEW, "ro iommu=pt", default="adv>new"), Step.NOTHING),
        (at(NEW, "ro iommu=pt", default="adv>new", once="x"), Step.SETTLE),
        (at(NEW, "ro iommu=pt"), Step.SETTLE),  # a word was dropped: no reboot for that
        (at(NEW, "ro", default="adv>new"), Step.BOOT),  # the words are missing
        (at(NEW, "ro iommu=pt2", default="adv>new"), Step.BOOT),
        (at(OLD, target=""), Step.NO_KERNEL),
        (at(OLD, entries=ENTRIES[2:]), Step.NO_ENTRY),
    ],
)
def test_what_is_next(now: Situation, step: Step) -> None:
    assert next_step(BOOT, now) is step


def test_a_kernel_that_is_only_kept_is_the_first_entry_where_it_is_the_newest() -> None:
    newest = at(NEW, "ro iommu=pt", default="simple")
    assert next_step(KEPT, newest) is Step.NOTHING
    older = at(OLD, "ro iommu=pt", default="simple", target=OLD)
    assert older.entry(KEPT) == ENTRIES[2] and next_step(KEPT, older) is Step.SETTLE
    assert newest.entry(BOOT) == ENTRIES[1]


def test_a_boot_is_judged_by_what_is_new_about_it() -> None:
    assert problems((), ("a.service",), ("a.service", "b.service")) == ()
    found = problems(("nvidia-current",), ("a.service", "c.service"), ("a.service",))
    assert found == ("has no module nvidia-current", "fails to start c.service")
