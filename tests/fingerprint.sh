#!/bin/sh
# A host's state as sorted lines, the same on every host that was provisioned alike: run as root, compare with diff.
# It shares nothing with gpuwright. Left out, each for its reason; everything else below the listed roots counts:
#   1. /etc/machine-id, /etc/ssh/ssh_host_*, /etc/docker/key.json: a host's identity, made at random
#   2. /etc/hostname, /etc/hosts, /etc/resolv.conf, /etc/mtab: name and address
#   3. values of keys in /etc/gpuwright/*.env: made at random; names and all other lines count
#   4. /etc/shadow, /etc/gshadow beyond the names: password hashes, and the day of the last change
#   5. /etc/passwd-, group-, shadow-, gshadow-, subuid-, subgid-: the state before the last change
#   6. /etc/ld.so.cache: in the order of the file system's directories
#   7. units that have ended well, and those of login sessions: there since a boot, a timer or a login, or not
#   8. services that D-Bus starts when they are asked and that stop by themselves (timedated, hostnamed, localed)
#   9. TCP ports that the kernel chose (32768 and above): containerd's
# Times, logs, caches and apt's lists are below no listed root.
set -eu
export LC_ALL=C
roots='/etc /usr/local /var/lib/gpuwright /lib/systemd/system /usr/lib/systemd/system'

# The paths that count, among those on stdin, one a line.
kept() {
    grep -Ev '^/etc/(machine-id|ssh/ssh_host_.*|docker/key\.json|hostname|hosts|resolv\.conf|mtab)( |$)' |
        grep -Ev '^/etc/((passwd|group|shadow|gshadow|subuid|subgid)-|ld\.so\.cache)( |$)'
}

existing=$(for root in $roots; do if [ -d "$root" ]; then readlink -f "$root"; fi; done | sort -u)
# shellcheck disable=SC2086  # a list of paths without blanks
find $existing -xdev -printf '%p %y %m %u:%g %n %l\n' | kept | sed 's/^/file /' | sort
# shellcheck disable=SC2086
find $existing -xdev -type f ! -path '/etc/gpuwright/*.env' ! -path /etc/shadow ! -path /etc/gshadow | kept |
    xargs -d '\n' sha256sum | sed 's/^/content /' | sort -k 3
for path in /etc/gpuwright/*.env; do
    if [ -f "$path" ]; then sed "s/=[0-9a-f]\{64\}\$/=KEY/; s|^|content $path |" "$path"; fi
done
for path in /etc/shadow /etc/gshadow; do cut -d: -f1 "$path" | sed "s|^|content $path |"; done

# Leftovers outside the roots: half-unpacked package files, and uploads on their way.
find /usr /bin /sbin /lib /var/lib/dpkg -xdev \( -name '*.dpkg-new' -o -name '*.dpkg-tmp' \) -printf 'leftover %p\n' | sort -u
find /tmp /var/tmp -xdev -name 'pyinfra-*' ! -name '*askpass*' -printf 'leftover %p\n' | sort

dpkg-query --show --showformat='package ${Package} ${Version} ${Status}\n' | sort
apt-mark showmanual | sed 's/^/manual /' | sort
dpkg --audit | sed 's/^/audit /'
dpkg --verify | grep -v ' c /' | sed 's/^/altered /' | sort # configuration files are listed above

getent passwd | sed 's/^/user /' | sort
getent group | sed 's/^/group /' | sort

systemctl list-unit-files --no-legend --no-pager --plain | awk '{ print "unit-file", $1, $2 }' | sort
systemctl list-units --all --no-legend --no-pager --plain --type=service,socket,timer,path |
    awk '$3 == "failed" || ($3 == "active" && $4 != "exited") { print "unit", $1, $3 }' |
    grep -Ev '^unit (user(-runtime-dir)?@|systemd-(timedate|hostname|locale)d\.service)' | sort

if command -v docker >/dev/null; then
    docker image ls --all --no-trunc --format 'image {{.ID}} {{.Repository}}:{{.Tag}}' | sort
    docker network ls --format 'network {{.Name}} {{.Driver}}' | sort
    docker volume ls --format 'volume {{.Name}} {{.Driver}}' | sort
    for container in $(docker ps --all --quiet); do
        docker inspect --format 'container {{.Name}} {{.State.Status}} {{.Image}} {{.Config.User}} {{.Path}} {{.Args}}
container {{.Name}} {{json .HostConfig}}
container {{.Name}} {{json .Mounts}}' "$container"
    done | sort
fi

ss -Hltnp | awk '{ port = $4; sub(/.*:/, "", port); if (port + 0 < 32768) print "listens", $4, $6 }' |
    sed 's/pid=[0-9]*,fd=[0-9]*//g' | sort -u
