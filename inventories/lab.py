"""An example to copy: `pyinfra inventories/lab.py deploy.py --dry --diff`, one host with `--limit nv1`.

Lists are groups; a host is a name or (name, data). Settings of a group live in group_data/<group>.py, those of
all hosts in group_data/all.py; roles/<role>/README.md lists every setting.
"""

nvidia = [
    ("nv1", {"ssh_hostname": "nv1.lab.example"}),
    ("nv2", {"ssh_hostname": "nv2.lab.example"}),
]

amd = [
    ("amd1", {"ssh_hostname": "amd1.lab.example"}),
    ("amd2", {"ssh_hostname": "amd2.lab.example"}),
]

cpu = [
    ("cpu1", {"ssh_hostname": "cpu1.lab.example"}),
]
