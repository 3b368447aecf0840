"""Real kernels and a real boot loader: a kernel is tried once, stays where it is well, and is left where it is not.

The tests are one story, in order: each begins with what the one before it left.
"""

from __future__ import annotations

import json

from gpuwright.plan.stack_model import BootPlan
from tests.vm.conftest import SECOND_KERNEL
from tests.vm.machine import Machine, wait_gone, wait_line

WORDS = ("iommu=pt", "pci=disable_acs_redir=0000:00:01.0;0000:00:02.0")
FIRST = BootPlan("linux-image-amd64", WORDS, "grub", "grubenv", ("virtio_net",))
SECOND = BootPlan(SECOND_KERNEL, WORDS, "grub", "grubenv", ("virtio_net",))
NOTE = "/etc/gpuwright/boot-trial.json"
FAILS_IN_A_TRIAL = """
cat >/etc/systemd/system/fails-in-a-trial.service <<'UNIT'
[Unit]
ConditionKernelCommandLine=gpuwright.trial
[Service]
Type=oneshot
ExecStart=/bin/false
[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload && systemctl enable --quiet fails-in-a-trial.service
"""


def second(release: str) -> bool:
    return "-cloud-" in release


def tried(machine: Machine) -> bool:
    return any(word.startswith("gpuwright.trial=") for word in machine.cmdline())


def test_a_kernel_without_its_module_is_not_booted(machine: Machine) -> None:
    before = machine.boot_id()
    ran = machine.deploy(BootPlan(SECOND_KERNEL, (), "grub", "grubenv", ("amdgpu",)))
    assert ran.code == 1 and "module amdgpu is not there for it" in ran.text
    assert machine.boot_id() == before and machine.chosen().get("next_entry", "") == ""
    assert machine.chosen()["saved_entry"] == "gpuwright-fallback"  # what runs boots, whatever was installed


def test_a_reboot_waits_while_a_declared_service_runs(machine: Machine) -> None:
    before = machine.boot_id()
    machine.ask("systemd-run --unit=gpuwright-busy.service sleep infinity")
    ran = machine.deploy(SECOND)
    assert ran.code == 1 and "pending: reboot into" in ran.text and "gpuwright-busy.service" in ran.text
    assert machine.boot_id() == before and machine.chosen().get("next_entry", "") == ""


def test_a_kernel_that_is_well_stays(machine: Machine) -> None:
    before = machine.boot_id()
    ran = machine.deploy(SECOND, data=("maintenance=true",))
    assert ran.code == 0, ran.text
    assert machine.boot_id() != before and second(machine.running())
    assert set(WORDS) <= set(machine.cmdline())
    assert "-cloud-amd64-advanced-" in machine.chosen()["saved_entry"]
    assert machine.ask(f"test -e {NOTE} || test -e /boot/grub/gpuwright.cfg || echo neither") == "neither"
    now = machine.boot_id()
    again = machine.deploy(SECOND)
    assert again.code == 0 and "Grand total   3       -         -       3" in again.text, again.text
    assert machine.boot_id() == now


def test_a_kernel_whose_units_fail_is_left(machine: Machine) -> None:
    machine.ask(FAILS_IN_A_TRIAL)
    ran = machine.deploy(FIRST)
    assert ran.code == 1, ran.text
    assert "its trial boot failed: fails to start fails-in-a-trial.service" in ran.text, ran.text
    assert "-cloud-amd64 runs again" in ran.text
    assert second(machine.running()) and not tried(machine)
    assert set(WORDS) <= set(machine.cmdline())
    machine.ask("systemctl disable --quiet fails-in-a-trial.service")


def test_a_kernel_that_panics_comes_back_by_itself(machine: Machine) -> None:
    release = machine.ask("ls /boot | sed -n 's/^vmlinuz-//p' | grep -v cloud")
    initramfs = f"/boot/initrd.img-{release}"
    machine.ask(f"mv {initramfs} /root/kept && printf 'nothing' >{initramfs}")
    ran = machine.deploy(FIRST)
    assert ran.code == 1, ran.text
    assert f"kernel {release}: its trial boot failed: did not come up" in ran.text, ran.text
    assert "-cloud-amd64 came back by itself and runs" in ran.text
    assert "Kernel panic - not syncing: VFS: Unable to mount root fs" in machine.console()
    assert second(machine.running())
    before = machine.boot_id()
    again = machine.deploy(FIRST)
    assert again.code == 1 and "It was not tried again." in again.text
    assert machine.boot_id() == before
    assert json.loads(machine.ask(f"cat {NOTE}"))["release"] == release
    machine.ask(f"mv /root/kept {initramfs} && touch {initramfs}")


def test_a_run_that_was_killed_during_the_reboot_is_taken_up(machine: Machine) -> None:
    before = machine.boot_id()
    with machine.start(FIRST) as process:
        wait_line(process, "reboots: tries")
        process.kill()
    wait_gone(machine, before)
    assert not second(machine.running()) and tried(machine)
    now = machine.boot_id()
    ran = machine.deploy(FIRST)
    assert ran.code == 0, ran.text
    assert machine.boot_id() == now
    assert f">gnulinux-{machine.running()}-advanced-" in machine.chosen()["saved_entry"]


def test_words_that_are_no_longer_declared_are_taken_out(machine: Machine) -> None:
    ran = machine.deploy(BootPlan("", (), "grub", "grubenv", ()))
    assert ran.code == 0, ran.text
    menu = machine.ask("cat /boot/grub/grub.cfg")
    assert not any(word in menu for word in WORDS) and "gpuwright" not in menu
    assert machine.chosen().get("saved_entry", "") == ""
    assert machine.ask("ls /etc/default/grub.d /etc/grub.d | grep gpuwright || echo none") == "none"
