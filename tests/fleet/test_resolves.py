"""What plans name can be installed: apt's own resolver over a stub archive (tests/stub_archive), never an install.

Pins, holds and conflicts are apt's; a name that no recorded stanza has fails. Each case says how good its stanzas are:
`recorded` word for word, `composed` from quoted names and versions. A composed case shows that the plan hangs together,
not that the vendor's archive is so. `pytest -rA` prints a row each.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpuwright import catalog
from gpuwright.facts import HostFacts
from gpuwright.operations.locked_packages import belongs
from gpuwright.plan import HostPlan, plan_host
from gpuwright.plan.nvidia.model import NvidiaDriverPlan
from gpuwright.plan.stack import TOOLKIT
from gpuwright.settings import read_settings
from tests.fleet.conftest import FLEET
from tests.stub_archive.archive import Archive, Repository, missing_tools, repositories
from tests.stub_archive.host import INSTALL, Answer, StubHost
from tests.stub_archive.server import Server
from tests.stub_archive.stanza import RECORDS

# Of a kernel series, not of one kernel: Debian moves them while only the kernel and its headers are held by name.
UNLOCKED = re.compile(r"linux-(kbuild|compiler-gcc|source|config)-")
RELEASES = {"debian 12": "bookworm", "debian 13": "trixie", "ubuntu 22.04": "jammy", "ubuntu 24.04": "noble"}


@dataclass(frozen=True)
class Case:
    """A machine, what its operator says beside its own settings, and the worst record of what comes to it."""

    machine: str
    record: str
    settings: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        said = [value for _, value in self.settings]
        return "-".join((self.machine, *said, self.record))


def _case(machine: str, record: str, **settings: str) -> Case:
    return Case(machine, record, tuple(settings.items()))


def _branch(machine: str, branch: str, source: str = "nvidia", record: str = "composed") -> Case:
    return _case(machine, record, nvidia_driver_source=source, nvidia_driver_branch=branch)


def _rocm(machine: str, version: str) -> Case:
    return _case(machine, "composed", rocm_packages="runtime", rocm_version=version)


def _imex(machine: str, branch: str) -> Case:
    settings = {"nvidia_driver_source": "nvidia", "nvidia_driver_branch": branch}
    return _case(machine, "composed", **settings, nvidia_driver_imex="on")


def _toolkit(machine: str, version: str) -> Case:
    return _case(machine, "composed", nvidia_driver_source="nvidia", nvidia_driver_cuda_toolkit=version)


CASES = (
    _case("debian12-2xw7900-built", "recorded"),
    _case("debian12-7900xtx", "recorded"),
    _case("debian12-r9700", "recorded"),
    _case("debian12-p40-3090", "composed"),
    _branch("debian12-p40-3090", "535", "distribution", "recorded"),
    _case("debian13-2x4090", "composed"),
    _branch("debian13-2x4090", "590"),
    _branch("debian13-2x4090", "595"),
    _branch("debian13-2x4090", "615"),
    _case("debian13-2x4090", "composed", nvidia_driver_mirror="https://apt.example/cuda"),
    _case("debian13-2x4090", "composed", nvidia_driver_cuda_toolkit="13.3"),
    _case("debian13-4090-debian-driver", "recorded"),
    _case("debian13-4090-secureboot", "composed"),
    _case("debian13-4xl40s-isolated", "composed"),
    _case("debian13-4xl40s-switch", "composed"),
    _case("debian13-8xb200", "composed"),
    _case("debian13-8xmi300x", "composed"),
    _rocm("debian13-8xmi300x", "7.14"),
    _rocm("debian13-8xmi300x", "10.0"),
    _case("debian13-cloud-w7900", "recorded"),
    _rocm("debian12-7900xtx", "6.4"),
    _rocm("debian12-7900xtx", "7.2"),
    _rocm("debian12-7900xtx", "10.0"),
    _case("ubuntu2204-2xw7900-p2p", "composed"),
    _case("ubuntu2204-2x3090-run", "composed"),
    _case("ubuntu2204-8xh100", "composed"),
    _case("ubuntu2204-8xh100", "composed", nvidia_driver_imex="on"),
    _case("ubuntu2404-2x4090-cpu", "composed"),
    _case("ubuntu2404-2x4090-driver", "composed"),
    _case("ubuntu2404-2x4090-passthrough", "composed"),
    _case("ubuntu2404-2xw7900-p2p", "composed"),
    _rocm("ubuntu2404-2xw7900-p2p", "6.4"),
    _rocm("ubuntu2404-2xw7900-p2p", "7.1"),
    _rocm("ubuntu2404-2xw7900-p2p", "7.2"),
    _rocm("ubuntu2404-2xw7900-p2p", "7.14"),
    _rocm("ubuntu2404-2xw7900-p2p", "10.0"),
    _case("ubuntu2404-2xw7900-xeon", "composed"),
    _case("ubuntu2404-4090-secureboot", "composed"),
    _branch("ubuntu2404-4090-secureboot", "535", "distribution"),
    _branch("ubuntu2404-4090-secureboot", "570", "distribution"),
    _branch("ubuntu2404-4090-secureboot", "595", "distribution"),
    _case("ubuntu2404-4x3090", "composed"),
    _case("ubuntu2404-4x3090-nvlink", "composed"),
    _case("ubuntu2404-4xh200-guest", "recorded"),
    _case("ubuntu2404-8xmi300x", "composed"),
    _rocm("ubuntu2404-8xmi300x", "6.4"),
    _rocm("ubuntu2404-8xmi300x", "7.2"),
    _rocm("ubuntu2404-8xmi300x", "10.0"),
    _case("ubuntu2404-igpu-4090", "composed"),
    _case("ubuntu2404-strix-halo", "composed"),
    _case("ubuntu2404-vm-l40s", "composed"),
    _branch("ubuntu2404-vm-l40s", "570"),
    _branch("ubuntu2404-vm-l40s", "580"),
    _branch("ubuntu2404-vm-l40s", "590"),
    _branch("ubuntu2404-vm-l40s", "595"),
    _branch("ubuntu2404-vm-l40s", "615"),
    _imex("ubuntu2404-vm-l40s", "570"),
    _imex("ubuntu2404-vm-l40s", "580"),
    _imex("ubuntu2404-vm-l40s", "595"),
    _imex("debian13-2x4090", "580"),
    _toolkit("ubuntu2404-vm-l40s", "12.9"),
    _toolkit("ubuntu2404-vm-l40s", "13.0"),
    _toolkit("ubuntu2404-vm-l40s", "13.2"),
    _case("ubuntu2404-w7900-4090", "composed"),
)
ELSEWHERE = {
    "ubuntu2404-gh200": "arm64, of which there are no stanzas",
    "ubuntu2404-4xgb200": "arm64, of which there are no stanzas",
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    assert not missing_tools(), f"apt-get install {' '.join(missing_tools())}"
    built = Archive(tmp_path_factory.mktemp("archive"))
    yield built
    built.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@dataclass
class Provisioned:
    """A host after the plan's packages came to it, as apt would have it."""

    host: StubHost
    plan: HostPlan
    repositories: list[Repository]
    came: dict[str, str]
    holds: frozenset[str]

    def record(self) -> str:
        return max((self.host.known[each][0].record for each in self.came.items()), key=RECORDS.index)


class Maker:
    """Makes hosts for plans."""

    def __init__(self, folder: Path, archive: Archive, server: Server) -> None:
        self.folder, self.archive, self.server = folder, archive, server

    def host(self, case: Case, without: str = "") -> tuple[StubHost, HostPlan, list[Repository]]:
        """The host of a case before anything came to it; `without` leaves out a component that its plan names."""
        facts, plan = planned(case)
        release = RELEASES[facts.release]
        components = components_of(plan) - {without}
        host = StubHost(self.folder / "host", release, self.archive, self.server, components)
        wanted = {(r.uri, r.suite) for driver in plan.drivers for r in driver.repositories}
        wanted |= {(r.uri, r.suite) for runtime in plan.runtimes for r in runtime.repositories}
        known = repositories()
        absent = wanted - {(r.uri, r.suite) for r in known}
        assert not absent, f"repositories of which nothing is recorded: {sorted(absent)}"
        own = [r for r in known if r.suite.split("-")[0] == release and ".invalid/" in r.uri]
        chosen = own + [r for r in known if (r.uri, r.suite) in wanted]
        host.sources(chosen, later=False)
        for driver in plan.drivers:
            for pin in driver.pins:
                host.prefer(pin.name, pin.packages, pin.pin, pin.priority)
        return host, plan, chosen

    def provision(self, case: Case, without: str = "") -> Provisioned:
        host, plan, chosen = self.host(case, without)
        came: dict[str, str] = {}
        for names in steps(plan, host):
            answer = host.ask(*INSTALL, *names)
            assert answer.comes is not None, answer.text
            host.apply(answer)
            came |= answer.comes
        toolkit = {
            n for each in plan.nvidia_driver.locked if each.name == TOOLKIT for n in came if belongs(each, n)
        }
        holds = toolkit.union(plan.holds.packages).difference(of_no_archive(plan))
        return Provisioned(host, plan, chosen, came, frozenset(holds))


@pytest.fixture
def maker(tmp_path: Path, archive: Archive, server: Server) -> Maker:
    return Maker(tmp_path, archive, server)


def planned(case: Case) -> tuple[HostFacts, HostPlan]:
    directory = next(path for path in FLEET if path.name == case.machine)
    about = tomllib.loads((directory / "machine.toml").read_text())
    facts = HostFacts.from_json((directory / "facts.json").read_text())
    plan = plan_host(facts, read_settings({**about["settings"], **dict(case.settings)}), catalog.load())
    assert isinstance(plan, HostPlan), plan
    return facts, plan


def components_of(plan: HostPlan) -> frozenset[str]:
    """All components of the distribution's archive that a plan says it needs."""
    drivers = (name for driver in plan.drivers for name in driver.components)
    return frozenset((*drivers, *plan.firmware.components, *plan.fabric.components))


def steps(plan: HostPlan, host: StubHost) -> list[list[str]]:
    """Names by the apt runs that install them; packages that bring preferences have to come before the others."""
    kernels = [name for name in plan.kernel.packages if name not in of_no_archive(plan)]
    kernel = [f"{name}/{plan.kernel.suite}" if plan.kernel.suite else name for name in kernels]
    suite = plan.firmware.suite
    firmware = [f"{name}/{suite}" if suite else name for name in plan.firmware.packages]
    rest = [name for driver in plan.drivers for name in driver.packages]
    rest += [*plan.fabric.packages, *(name for runtime in plan.runtimes for name in runtime.packages)]
    first = [name for driver in plan.drivers for name in driver.first]
    toolkit = [n for d in plan.drivers if isinstance(d, NvidiaDriverPlan) for n in d.toolkit]
    known = {name: stanza for (name, _), (stanza, _) in host.known.items()}
    planned_names = {name.partition("/")[0] for name in (*kernel, *firmware, *first, *rest, *toolkit)}
    assert planned_names <= set(known), f"names without a stanza: {sorted(planned_names - set(known))}"
    late = [name for name in rest if known[name].preferences]
    assert not late, f"apt would read the preferences of {late} too late"
    return [names for names in (kernel + firmware, first, rest, toolkit) if names]


def of_no_archive(plan: HostPlan) -> tuple[str, ...]:
    """A kernel that was built: the operator's own repository has it (tests/sandbox/test_built_kernel.py)."""
    return plan.kernel.packages if plan.kernel.flavour == "built" else ()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_plan_resolves_and_stays(case: Case, maker: Maker) -> None:
    done = maker.provision(case)
    versions = {name: version.rpartition(":")[2] for name, version in done.came.items()}
    for driver in done.plan.drivers:
        of_branch = [
            n for n in driver.packages if not n.startswith(("linux-modules-", "rocm", "amd-smi", "amdrocm"))
        ]
        off = {n: versions[n] for n in of_branch if not _of_branch(n, versions[n], driver.branch)}
        assert driver.source not in ("nvidia", "distribution") or not off, off
        if driver.delivery == "prebuilt":
            assert all(driver.branch in n for n in driver.packages if n.startswith("linux-modules-"))
        exact = [n for n in done.plan.fabric.packages if re.search("-imex|fabricmanager", n)]
        own = {versions[n].rpartition("-")[0] for n in of_branch if n in versions}
        assert {versions[n].rpartition("-")[0] for n in exact} <= own, "not at the driver's very version"
    assert _owners(done, r"(lib)?nvidia-(?!container)|libcuda|firmware-nvidia") <= {_owner(done.plan)}
    assert _owners(done, r"rocminfo|rocm-|hip-|hsa-|amdgpu|amdrocm|amd-smi") <= {"repo.radeon.com", "amdrocm"}
    assert done.holds <= set(done.host.installed), sorted(done.holds - set(done.host.installed))
    record = done.record()
    print(_row(case, done, record))
    assert record == case.record

    done.host.held = done.holds
    done.host.sources(done.repositories, later=True)
    after = done.host.ask("dist-upgrade", "--yes")
    assert after.comes is not None, after.text
    moved = set(after.comes) & set(done.came)
    locked = {name for name in moved if not UNLOCKED.match(name)}
    assert not locked, f"an upgrade moves {sorted(locked)}"
    built_with = {name for name in moved if name.startswith(("linux-kbuild-", "linux-compiler-"))}
    patterns = "|".join(done.plan.holds.unattended)
    assert all(re.match(patterns, name) for name in built_with), "nothing keeps unattended upgrades from them"
    assert not after.goes


def test_every_machine_with_packages_is_a_case() -> None:
    missing = set()
    for directory in FLEET:
        try:
            _, plan = planned(_case(directory.name, ""))
        except AssertionError:
            continue  # refused
        if plan.drivers or plan.firmware.packages or plan.fabric.packages:
            missing.add(directory.name)
    assert missing - {case.machine for case in CASES} == set(ELSEWHERE)


def test_branches_and_releases_are_there() -> None:
    """What the cases' plans have, not what their settings say."""
    releases, branches, rocms = set(), set(), set()
    for case in CASES:
        facts, plan = planned(case)
        releases.add(facts.release)
        branches |= {(d.source, d.branch) for d in plan.drivers if d.vendor == "nvidia"}
        rocms |= {
            row.version
            for row in catalog.load().amd.rocm
            for driver in plan.drivers
            for repository in driver.repositories
            if repository.uri == row.uri.format(distro=row.distros.get(facts.release, ""))
        }
    assert len({case.machine for case in CASES}) >= 12
    assert releases == set(RELEASES)
    assert {branch for _, branch in branches} >= {"535", "570", "580", "590", "595", "615"}
    assert {branch for source, branch in branches if source == "distribution"} >= {"535", "580", "595"}
    assert rocms >= {"6.4", "7.2", "7.14", "10.0"}


@pytest.mark.parametrize(
    ("case", "component"),
    [
        (_case("debian13-4090-debian-driver", ""), "contrib"),
        (_case("debian13-4090-debian-driver", ""), "non-free"),
        (_case("debian13-4090-debian-driver", ""), "non-free-firmware"),
        (_case("debian12-7900xtx", ""), "non-free-firmware"),
        (_case("ubuntu2404-4090-secureboot", ""), "restricted"),
        (_branch("ubuntu2404-4090-secureboot", "595", "distribution"), "multiverse"),
        (_case("ubuntu2204-8xh100", ""), "multiverse"),
    ],
    ids=str,
)
def test_without_a_component_nothing_comes(case: Case, component: str, maker: Maker) -> None:
    """The other side: what a plan says it needs of the archive, it needs."""
    assert component in components_of(planned(case)[1])
    with pytest.raises(AssertionError):
        maker.provision(case, without=component)


@pytest.mark.parametrize(
    "case",
    [
        _branch("debian13-2x4090", "580"),
        _branch("ubuntu2404-vm-l40s", "595"),
        _case("ubuntu2404-4090-secureboot", "composed"),
        _case("debian13-8xmi300x", ""),
    ],
    ids=str,
)
def test_without_pins_and_holds_an_upgrade_would_move_it(case: Case, maker: Maker) -> None:
    """The other side of the test above, which could not fail otherwise."""
    done = maker.provision(case)
    for path in (done.host.root / "etc/apt/preferences.d").iterdir():
        path.unlink()
    done.host.sources(done.repositories, later=True)
    after = done.host.ask("dist-upgrade", "--yes")
    assert after.comes is not None and set(after.comes) & set(done.came)


def test_the_pin_fits_nvidias_repository_wherever_it_is(maker: Maker) -> None:
    for place in ("https://developer.download.nvidia.com/compute/cuda/repos", "https://apt.example/cuda"):
        case = _case("debian13-2x4090", "", nvidia_driver_mirror=place)
        host, plan, _ = maker.host(case)
        found = {uri: priority for uri, priority in host.priorities().items() if "debian13" in uri}
        ((uri, priority),) = found.items()
        assert uri.removeprefix("http://") in plan.drivers[0].repositories[0].uri
        assert priority == plan.drivers[0].pins[0].priority
        shutil.rmtree(host.root)


def test_pin_is_what_makes_rocm_resolve(maker: Maker) -> None:
    """Ubuntu's rocminfo 5.7.1 is newer than AMD's 1.0.0, which rocm-hip-runtime needs at its very version."""
    host, plan, _ = maker.host(_rocm("ubuntu2404-2xw7900-p2p", "7.2"))
    names = plan.drivers[0].packages
    assert host.ask(*INSTALL, *names).comes is not None
    (host.root / "etc/apt/preferences.d" / plan.drivers[0].pins[0].name).unlink()
    refused = host.ask(*INSTALL, *names)
    assert refused.comes is None and "rocminfo" in refused.text


@pytest.mark.parametrize("machine", ["debian13-2x4090", "debian12-p40-3090"])
def test_pinning_package_is_too_late_in_the_same_transaction(machine: str, maker: Maker) -> None:
    """Its preferences are read by the next apt: with it alone at the same time comes the newest branch."""
    host, plan, _ = maker.host(_case(machine, ""))
    assert plan.drivers[0].first
    together = host.ask(*INSTALL, *plan.drivers[0].names)
    assert plan.drivers[0].branch == "580"
    assert together.comes is None or together.comes["nvidia-driver-cuda"].startswith("615."), together.text


def test_debian_12_cannot_install_its_open_modules(maker: Maker) -> None:
    """What the catalogue's row says of it, all from Debian's own stanzas."""
    host, _, _ = maker.host(_branch("debian12-p40-3090", "535", "distribution"))
    refused = host.ask(*INSTALL, "nvidia-open-kernel-dkms", "nvidia-smi", "libcuda1", "nvidia-persistenced")
    assert refused.comes is None and "firmware-nvidia-gsp" in refused.text


def test_leaving_a_newer_driver_needs_downgrades_and_removals(maker: Maker) -> None:
    """Why debian13-p40-after-610 is refused: names alone do not bring 580 back; apt has to be allowed to."""
    host, plan, _ = maker.host(_case("debian12-p40-3090", ""))
    host.apply(
        _versions(host, "610.43.02-1", "nvidia-driver-cuda", "nvidia-kernel-open-dkms", "nvidia-persistenced")
    )
    first, rest = steps(plan, host)[-2:]
    pinning = host.ask(*INSTALL, *first)
    assert pinning.comes is not None, pinning.text
    host.apply(pinning)
    assert host.ask(*INSTALL, *rest).comes is None
    allowed = host.ask("install", "--yes", "--no-install-recommends", "--allow-downgrades", *rest)
    assert allowed.comes is not None, allowed.text
    assert allowed.comes["nvidia-kernel-dkms"].startswith("580."), allowed.text
    assert "nvidia-kernel-open-dkms" in allowed.goes


# As gpuwright.operations.apt changes a locked set.
CHANGE = ("install", "--yes", "--no-install-recommends", "--allow-change-held-packages", "--ignore-hold")


@pytest.mark.parametrize(
    ("machine", "older", "newer", "source"),
    [
        ("ubuntu2404-vm-l40s", "570", "580", "nvidia"),
        ("ubuntu2404-vm-l40s", "590", "595", "nvidia"),
        ("ubuntu2404-vm-l40s", "595", "615", "nvidia"),
        ("debian13-2x4090", "580", "595", "nvidia"),
        ("debian13-2x4090", "595", "615", "nvidia"),
        ("ubuntu2404-4090-secureboot", "570", "580", "distribution"),
    ],
)
def test_a_newer_branch_comes_in_the_place_of_the_older(
    machine: str, older: str, newer: str, source: str, maker: Maker
) -> None:
    done = maker.provision(_branch(machine, older, source))
    assert _moved(done, _branch(machine, newer, source)), "what the plan takes for possible is not"


@pytest.mark.parametrize("newer", ["590", "595", "615"])
def test_past_the_renaming_apt_does_not_get_by_itself(newer: str, maker: Maker) -> None:
    """Why a plan refuses that: 580's names are kept, until somebody removes them as the refusal says."""
    done = maker.provision(_branch("ubuntu2404-vm-l40s", "580"))
    wanted = _branch("ubuntu2404-vm-l40s", newer)
    assert not _moved(done, wanted)
    named_so = [
        name for name in done.host.installed if re.match(r"(lib)?nvidia-(?!driver-).*-580(-|$)", name)
    ]
    assert set(done.plan.drivers[0].packages) <= set(named_so)
    done.host.held = frozenset()
    done.host.apply(done.host.ask("remove", "--yes", *named_so))
    assert _moved(done, wanted)


def _moved(done: Provisioned, case: Case) -> bool:
    """Whether apt brings the driver of `case` to a host that has another; first what pins it, as the role does."""
    plan = planned(case)[1]
    done.host.held = done.holds & set(done.host.installed)
    for names in steps(plan, done.host)[-2:]:
        answer = done.host.ask(*CHANGE, *names)
        if answer.comes is None:
            return False
        done.host.apply(answer)
    versions = {name: done.host.installed[name].version for name in plan.drivers[0].packages}
    return all(
        _of_branch(n, v, plan.drivers[0].branch) for n, v in versions.items() if not n.startswith("linux-")
    )


def test_archive_is_signed(maker: Maker) -> None:
    host, _, chosen = maker.host(_case("debian13-2x4090", ""))
    index = next(
        path for url, path in maker.archive.build(chosen[-1], False).items() if url.endswith("InRelease")
    )
    whole = index.read_text()
    index.write_text(whole.replace("Architectures", "architectures").replace("Date:", "X-Date:"))
    with pytest.raises(RuntimeError, match=r"signature|BADSIG|not signed|NO_PUBKEY"):
        host.sources(chosen[-1:], later=False)
    index.write_text(whole)


def test_name_without_a_stanza_fails(maker: Maker) -> None:
    host, plan, _ = maker.host(_case("debian13-2x4090", ""))
    other = dataclasses.replace(plan.drivers[0], packages=("nvidia-driver-cude",))
    with pytest.raises(AssertionError, match="nvidia-driver-cude"):
        steps(dataclasses.replace(plan, drivers=(other,)), host)


def _versions(host: StubHost, version: str, *names: str) -> Answer:
    answer = host.ask(
        *INSTALL,
        *(f"{name}={version}" for name in names),
        f"libcuda1={version}",
        f"libnvidia-ml1={version}",
        f"nvidia-modprobe={version}",
        f"firmware-nvidia-gsp={version}",
        f"nvidia-kernel-support={version}",
        f"libnvidia-ptxjitcompiler1={version}",
    )
    assert answer.comes is not None, answer.text
    return answer


def _of_branch(name: str, version: str, branch: str) -> bool:
    # Debian's nvidia-persistenced has a version of its own within the branch.
    return version.startswith((f"{branch}.", f"{branch}-"))


def _owner(plan: HostPlan) -> str:
    """The origin that all of NVIDIA's packages must have."""
    if any(driver.source == "nvidia" for driver in plan.drivers):
        return "NVIDIA"
    return "Debian" if any(name.endswith("-amd64") for name in plan.kernel.packages) else "Ubuntu"


def _owners(done: Provisioned, pattern: str) -> set[str]:
    came = [each for each in done.came.items() if re.match(pattern, each[0])]
    # fabric's infiniband-diags and the like are the distribution's by right: they do not match.
    return {done.host.known[each][1].origin for each in came}


def _row(case: Case, done: Provisioned, record: str) -> str:
    records = [done.host.known[each][0].record for each in done.came.items()]
    drivers = ", ".join(f"{d.source} {d.branch or '-'} {d.modules}" for d in done.plan.drivers) or "-"
    counts = ", ".join(f"{records.count(each)} {each}" for each in RECORDS if each in records)
    return f"{case.machine} | {drivers} | {len(done.came)} packages: {counts} | {record} | resolves, stays"
