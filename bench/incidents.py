"""Single changes that people make to a host by hand, as root, and by which names they should be called.

Each is one shell command on a host that inventories/sandbox.py describes, with its service `chat`.
"""

from __future__ import annotations

from dataclasses import dataclass

CONF = "/etc/gpuwright/chat.conf"
ENV = "/etc/gpuwright/chat.env"
STAMP = "/etc/gpuwright/applied.json"
UNIT = "/etc/systemd/system/gpuwright-chat.service"
READY = "/usr/local/lib/gpuwright/ready"
DAEMON = "/etc/docker/daemon.json"
MEMLOCK = "/etc/systemd/system.conf.d/90-gpuwright-memlock.conf"
OVERRULES = "/etc/systemd/system.conf.d/99-local.conf"
MODELS = "/var/lib/gpuwright/models/smollm2-135m-instruct"
MODEL = f"{MODELS}/SmolLM2-135M-Instruct.Q4_1.gguf"
FLIP = f"printf x | dd of={MODEL} bs=1 seek=90000000 conv=notrunc status=none"
RESTART = "systemctl restart gpuwright-chat"
RELOAD = "systemctl daemon-reload"
# The image of the service under another id: what an older or a home-made one looks like.
OTHER_IMAGE = (
    "docker rm --force other >/dev/null 2>&1; image=$(docker inspect --format '{{.Image}}' gpuwright-chat) && "
    "docker create --name other $image >/dev/null && other=$(docker commit --change 'LABEL made=by-hand' other) && "
    "docker rm other >/dev/null"
)
MOUNT = f"--volume {MODELS}:{MODELS}:ro --env-file {CONF} --env-file {ENV}"
NO_OTHERS = "docker rm --force aside other >/dev/null 2>&1; docker image prune --force >/dev/null"

WRITTEN = ("Inference | Units", "Inference | Services", "files.as-rendered", "unit.fresh")
SERVICE = ("Inference | Services", "unit.active")
SWAPPED = ("Inference | Services", "container.own")
KEYS = ("Inference | Keys and ids", "keys.private")
ACCOUNT = ("Inference | Account", "account.no-login")
ENGINE = ("Container engine | Engine", "unit.active")
DAEMON_JSON = ("Container engine | daemon.json", "engine.daemon-json")
LIMITS = ("Base | Limits", "Base | Limits in the service manager", "files.as-rendered", "manager.limits")
MODEL_FILES = ("Model store | Models", "model.sizes", "model.untouched", "model.digests")


@dataclass(frozen=True)
class Incident:
    """A change, its undoing, and the operations and checks that may take the credit for naming it.

    `left` says why a run rightly leaves it: empty where a run must repair it.
    """

    name: str
    do: str
    undo: str
    named: tuple[str, ...]
    left: str = ""


def edited(name: str, path: str, command: str, named: tuple[str, ...], left: str = "") -> Incident:
    """A file changed by `command`; undone with its old content, mode and time."""
    keep, restore = f"cp -p {path} /root/kept", f"rm -f {path}; cp -p /root/kept {path}; {RELOAD}"
    return Incident(name, f"{keep} && {command}", restore, named, left)


INCIDENTS = (
    edited("settings file edited", CONF, f"echo LLAMA_ARG_CTX_SIZE=64 >> {CONF}", WRITTEN),
    edited("unit file edited", UNIT, f"sed -i s/^Restart=.*/Restart=no/ {UNIT} && {RELOAD}", WRITTEN),
    edited(
        "unit file a link to elsewhere", UNIT, f"rm {UNIT} && ln -s /root/kept {UNIT} && {RELOAD}", WRITTEN
    ),
    edited("ready script edited: always ready", READY, f"sed -i '2i exit 0' {READY}", WRITTEN),
    edited(
        "service listens on 0.0.0.0",
        CONF,
        f"sed -i s/^LLAMA_ARG_HOST=.*/LLAMA_ARG_HOST=0.0.0.0/ {CONF} && {RESTART}",
        (*WRITTEN, "service.port-loopback", "container.environment"),
    ),
    Incident(
        "settings folder writable for all",
        "chmod 0777 /etc/gpuwright",
        "chmod 0755 /etc/gpuwright",
        ("Inference | Units", "Stamp", "files.as-rendered"),
    ),
    Incident(
        "unit stopped", "systemctl stop gpuwright-chat", "systemctl start gpuwright-chat", SERVICE
    ),
    Incident(
        "unit disabled",
        "systemctl disable --quiet gpuwright-chat",
        "systemctl enable --quiet gpuwright-chat",
        ("Inference | Services", "unit.enabled"),
    ),
    edited(
        "unit masked",
        UNIT,
        f"rm {UNIT} && systemctl mask --quiet gpuwright-chat",
        (*WRITTEN, "unit.enabled"),
    ),
    Incident(
        "drop-in put on the unit",
        f"mkdir {UNIT}.d && printf '[Service]\\nNice=5\\n' > {UNIT}.d/a.conf && {RELOAD}",
        f"rm -r {UNIT}.d; {RELOAD}; {RESTART}",
        ("unit.no-drop-ins",),
        "somebody wanted it: it is named, with the way to remove it",
    ),
    Incident(
        "service added beside the declared",
        f"cp {UNIT} /etc/systemd/system/gpuwright-old.service && {RELOAD}",
        f"rm /etc/systemd/system/gpuwright-old.service; {RELOAD}",
        ("Inference | Services no longer declared", "units.only-declared"),
    ),
    Incident(
        "somebody's own unit under our prefix",
        "printf '[Service]\\nExecStart=/bin/true\\n' > /etc/systemd/system/gpuwright-mine.service",
        f"rm /etc/systemd/system/gpuwright-mine.service; {RELOAD}",
        ("units.only-declared",),
        "gpuwright did not write it, so it is not gpuwright's to remove",
    ),
    Incident(
        "privileged container in the service's place",
        f"image=$(docker inspect --format '{{{{.Image}}}}' gpuwright-chat) && docker rename gpuwright-chat aside && "
        # made only: a host that is itself a container may not give these powers away
        f"docker create --privileged --network none {MOUNT} --name gpuwright-chat $image",
        f"{NO_OTHERS}; {RESTART}",
        (*SWAPPED, "container.privileged"),
    ),
    Incident(
        "container of another image in its place",
        f"{OTHER_IMAGE} && docker rename gpuwright-chat aside && docker run --detach --network none {MOUNT} "
        "--name gpuwright-chat $other",
        f"{NO_OTHERS}; {RESTART}",
        (*SWAPPED, "container.image"),
    ),
    Incident(
        "service stopped, its container run by hand",
        "image=$(docker inspect --format '{{.Image}}' gpuwright-chat) && systemctl stop gpuwright-chat && "
        f"docker run --detach --network host {MOUNT} --name gpuwright-chat $image",
        f"docker rm --force gpuwright-chat; {RESTART}",
        (*SERVICE, *SWAPPED, "container.capabilities", "container.user"),
    ),
    Incident(
        "container paused",
        "docker pause gpuwright-chat",
        "docker unpause gpuwright-chat",
        (*SWAPPED, "container.running", "service.completion"),
    ),
    Incident(
        "container's memory limit changed",
        "docker update --memory 4g gpuwright-chat",
        RESTART,
        ("container.memory",),
        "what it was started from is as declared; a restart, which verify asks for, cures it",
    ),
    Incident(
        "container added under our prefix",
        "docker create --name gpuwright-x $(docker inspect --format '{{.Image}}' gpuwright-chat)",
        "docker rm gpuwright-x",
        ("units.only-declared",),
        "gpuwright did not make it, so it is not gpuwright's to remove",
    ),
    edited(
        "image retagged, the unit follows the tag",
        UNIT,
        f"{OTHER_IMAGE} && docker tag $other engine:latest && sed -i s/$image/engine:latest/ {UNIT} && "
        f"{RELOAD} && {RESTART}",
        (*WRITTEN, "container.image"),
    ),
    Incident(
        "service stopped, its image removed",
        "image=$(docker inspect --format '{{.Image}}' gpuwright-chat) && systemctl stop gpuwright-chat && "
        # what other changes here made of it keeps it
        "docker image ls --quiet --filter label=made=by-hand | xargs --no-run-if-empty docker image rm --force && "
        "docker image rm --force $image",
        "systemctl start gpuwright-chat",
        ("Inference | Images", "container.image"),
    ),
    Incident("key file readable for all", f"chmod 0644 {ENV}", f"chmod 0600 {ENV}", KEYS),
    edited(
        "key changed",
        ENV,
        f"sed -i s/^LLAMA_API_KEY=........../LLAMA_API_KEY=0123456789/ {ENV}",
        ("Inference | Services", "unit.fresh", "service.completion"),
    ),
    edited("key cut short", ENV, f"sed -i 's/^\\(LLAMA_API_KEY=....\\).*/\\1/' {ENV}", KEYS),
    edited("key file removed", ENV, f"rm {ENV}", KEYS),
    Incident(
        "account given a shell",
        "usermod --shell /bin/bash _gpuwright",
        "usermod --shell /usr/sbin/nologin _gpuwright",
        ACCOUNT,
    ),
    Incident(
        "account given a password",
        "echo _gpuwright:word | chpasswd",
        "usermod --lock _gpuwright",
        ACCOUNT,
    ),
    Incident(
        "account added to group docker",
        "usermod --append --groups docker _gpuwright",
        "usermod --groups '' _gpuwright",
        ACCOUNT,
    ),
    Incident(
        "account taken out of its group",
        "usermod --gid users _gpuwright",
        "usermod --gid _gpuwright _gpuwright",
        (*ACCOUNT, *KEYS),
    ),
    Incident(
        "account removed",
        "userdel --force _gpuwright",
        "useradd --system --user-group --no-create-home --shell /usr/sbin/nologin _gpuwright",
        (*ACCOUNT, *KEYS),
    ),
    Incident(
        "engine stopped",
        "systemctl stop docker.socket docker.service",
        "systemctl start docker gpuwright-chat",
        (*ENGINE, *SERVICE),
    ),
    Incident(
        "engine disabled",
        "systemctl disable --quiet docker.service",
        "systemctl enable --quiet docker.service",
        ("Container engine | Engine", "unit.enabled"),
    ),
    Incident(
        "engine masked",
        "systemctl mask --quiet docker.service",
        "systemctl unmask --quiet docker.service",
        ("Container engine | Engine", "unit.enabled"),
    ),
    edited("daemon.json: key removed", DAEMON, f"echo '{{}}' > {DAEMON}", DAEMON_JSON),
    edited(
        "daemon.json: key changed", DAEMON, f"sed -i s/local/json-file/ {DAEMON}", DAEMON_JSON
    ),
    edited(
        "daemon.json: not JSON",
        DAEMON,
        f"echo '{{ \"log-driver\": \"local\", }}' > {DAEMON}",
        DAEMON_JSON,
        "others' keys may stand in it: the run refuses, and says where it breaks",
    ),
    edited(
        "locked-memory limit lowered",
        MEMLOCK,
        f"sed -i s/infinity/64K/ {MEMLOCK} && systemctl daemon-reexec",
        LIMITS,
    ),
    edited("locked-memory file removed", MEMLOCK, f"rm {MEMLOCK}", LIMITS),
    Incident(
        "locked-memory limit overruled by another file",
        f"printf '[Manager]\\nDefaultLimitMEMLOCK=64K\\n' > {OVERRULES} && systemctl daemon-reexec",
        f"rm -f {OVERRULES}; systemctl daemon-reexec",
        LIMITS,
        "somebody wanted it: the run fails, and names the file",
    ),
    Incident(
        "package removed",
        "dpkg --purge --force-depends curl",
        "apt-get -q install -y --no-install-recommends curl",
        ("Base | Packages", "packages.installed"),
    ),
    Incident(
        "model: a byte flipped",
        FLIP,
        f"touch {MODEL}",
        MODEL_FILES,
    ),
    Incident(
        "model: a byte flipped, its time put back",
        f"touch -r {MODEL} /root/time && {FLIP} && touch -r /root/time {MODEL}",
        f"touch {MODEL}",
        MODEL_FILES,
        "no run reads gigabytes again: verify does, and says how to have the file fetched",
    ),
    Incident("model cut short", f"truncate --size 50M {MODEL}", f"touch {MODEL}", MODEL_FILES),
    Incident("model removed", f"rm {MODEL}", f"touch {MODELS}", MODEL_FILES),
    Incident("model writable for all", f"chmod 0666 {MODEL}", f"chmod 0644 {MODEL}", MODEL_FILES),
    Incident(
        "model's manifest removed",
        f"rm {MODELS}/.gpuwright.json",
        f"touch {MODELS}",
        (*MODEL_FILES, "model.source"),
    ),
    edited(
        "stamp edited",
        STAMP,
        f"sed -i 's/\"port\": 8080/\"port\": 8081/' {STAMP}",
        ("Stamp", "stamp.plan", "stamp.services"),
    ),
    edited("stamp removed", STAMP, f"rm {STAMP}", ("Stamp", "stamp.plan", "stamp.services")),
)  # fmt: skip
