"""What operations conclude from a host's state: units, accounts, files; good, changed by hand, and cut off."""

from __future__ import annotations

import pytest

from gpuwright.operations.accounts import Accounts, EnvFileStates
from gpuwright.operations.accounts import differences as account_differences
from gpuwright.operations.files import FileState, FileStates
from gpuwright.operations.units import UnitState, UnitStates

GOOD_UNIT = ["gpuwright-chat.service", "loaded", "enabled", "active", "no", "no", "no"]
GOOD_ACCOUNT = ["_gpuwright", "995", "/usr/sbin/nologin", "_gpuwright", "L"]


def unit(**changed: str) -> UnitState:
    columns = dict(
        zip(("name", "load", "enabled", "active", "reload", "stale", "swapped"), GOOD_UNIT, strict=True)
    )
    (state,) = UnitStates().process(["\t".join({**columns, **changed}.values())]).values()
    return state


def account(**changed: str) -> list[str]:
    columns = dict(zip(("name", "uid", "shell", "groups", "password"), GOOD_ACCOUNT, strict=True))
    (state,) = Accounts().process(["\t".join({**columns, **changed}.values())]).values()
    return list(account_differences("_gpuwright", state))


def test_a_running_unit_outlives_its_files_or_its_container() -> None:
    assert not unit().outlived
    assert unit(stale="yes").outlived
    assert unit(swapped="yes").outlived
    assert not unit(stale="yes", active="inactive").outlived


@pytest.mark.parametrize(
    ("enabled", "masked"), [("masked", True), ("masked-runtime", True), ("enabled", False), ("", False)]
)
def test_masked(enabled: str, masked: bool) -> None:
    assert unit(enabled=enabled).masked is masked


def test_an_account_without_login_in_its_own_group_is_right() -> None:
    assert account() == []
    assert account(shell="/bin/false", password="LK") == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"shell": "/bin/bash"}, "shell /bin/bash -> no login"),
        ({"shell": ""}, "shell  -> no login"),
        ({"password": "P"}, "a password, or none -> locked"),
        ({"password": "NP"}, "a password, or none -> locked"),
        ({"password": ""}, "a password, or none -> locked"),
        ({"groups": "_gpuwright docker"}, "groups _gpuwright docker -> _gpuwright"),
        ({"groups": "users"}, "groups users -> _gpuwright"),
        ({"groups": ""}, "groups without a name -> _gpuwright"),
    ],
)
def test_an_account_changed_by_hand_is_said(changed: dict[str, str], says: str) -> None:
    assert account(**changed) == [says]


def test_a_file_in_a_directory_of_others_is_told() -> None:
    digest = "0" * 64
    found = FileStates().process(
        [f"/a/b\t0644\troot:root\t{digest}\troot", f"/c/d\t0644\troot:root\t{digest}\t/c/"]
    )
    assert found["/a/b"] == FileState("0644", "root:root", digest, open_directory=False)
    assert found["/c/d"].open_directory


@pytest.mark.parametrize("fact", [UnitStates(), Accounts(), FileStates(), EnvFileStates()])
def test_a_reading_that_was_cut_off_is_an_error_and_no_answer(
    fact: UnitStates | Accounts | FileStates,
) -> None:
    with pytest.raises(ValueError):
        fact.process(["gpuwright"])


def test_nothing_read_is_no_account() -> None:
    assert Accounts().process([]) == Accounts.default() == {}
