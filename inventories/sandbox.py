"""The hosts that `gpuwright sandbox up` made, as pyinfra reads them."""

import json as _json
import os as _os
import sys as _sys
from pathlib import Path as _Path

_named = _os.environ.get("GPUWRIGHT_STATE_DIR")
_directory = _Path(_named).expanduser() if _named else _Path(__file__).absolute().parents[1] / ".gpuwright"
_file = _directory / "sandbox.json"

if _file.exists():
    _state = _json.loads(_file.read_text())
else:
    _state = {"hosts": [], "images": {}}
    if any(
        _Path(_word).name == "sandbox.py" for _word in _sys.argv
    ):  # else somebody looks through all inventories
        _sys.stderr.write(f"No sandbox ({_file} is missing). Make one: gpuwright sandbox up\n")


def _data(host):
    """Host data: how to connect, and the image that this machine built for the host's engine."""
    data = {
        "ssh_hostname": host["address"],
        "ssh_port": host["port"],
        "ssh_user": host["user"],
        "ssh_key": host["key"],
        "ssh_known_hosts_file": host["known_hosts"],
        "ssh_strict_host_key_checking": "yes",
    }
    data["gpuwright_locks"] = str(_directory / "locks")  # throw-away hosts: nothing for version control
    if host["sudo_password"] is not None:
        data["_sudo_password"] = host["sudo_password"]
    if "llama_cpp" in _state["images"]:
        data["inference_image_source"] = "local"
        data["inference_image"] = _state["images"]["llama_cpp"]
    return data


sandbox = [(_host["name"], _data(_host)) for _host in _state["hosts"]]
