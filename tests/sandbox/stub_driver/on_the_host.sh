# NVIDIA's name leads to this machine's server: by 127.0.0.1:443 on the host, so that no right on this machine is needed.
# $1 NVIDIA's host, $2 the server's address and port, $3 the repository, $4 the key, $5 the authority's certificate
set -eu
grep -q "127.0.0.1 $1\$" /etc/hosts || echo "127.0.0.1 $1" >>/etc/hosts
cat >/etc/systemd/system/stub-mirror.socket <<UNIT
[Socket]
ListenStream=127.0.0.1:443
UNIT
cat >/etc/systemd/system/stub-mirror.service <<UNIT
[Service]
ExecStart=/lib/systemd/systemd-socket-proxyd $2
UNIT
systemctl daemon-reload
systemctl stop stub-mirror.service
systemctl start stub-mirror.socket
umask 022
printf %s "$4" >/usr/share/keyrings/stub.asc
printf %s "$5" >/usr/local/share/ca-certificates/stub.crt
update-ca-certificates >/dev/null 2>&1
# An administrator's own source of that repository: gpuwright leaves it, and its key, as they are.
printf 'Types: deb\nURIs: %s\nSuites: /\nArchitectures: amd64\nSigned-By: /usr/share/keyrings/stub.asc\nCheck-Valid-Until: yes\n' "$3" \
    >/etc/apt/sources.list.d/stub.sources
