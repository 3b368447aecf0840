# A vendor's name leads to this machine's server: by $6:443 on the host, so that no right on this machine is needed.
# $1 the vendor's host, $2 the server's address and port, $3 the repository, $4 the key, $5 the authority's certificate,
# $6 an address of the host's own, $7 the source's name
set -eu
grep -q "$6 $1\$" /etc/hosts || echo "$6 $1" >>/etc/hosts
cat >"/etc/systemd/system/$7-mirror.socket" <<UNIT
[Socket]
ListenStream=$6:443
UNIT
cat >"/etc/systemd/system/$7-mirror.service" <<UNIT
[Service]
ExecStart=/lib/systemd/systemd-socket-proxyd $2
UNIT
systemctl daemon-reload
systemctl stop "$7-mirror.service"
systemctl start "$7-mirror.socket"
umask 022
printf %s "$4" >"/usr/share/keyrings/$7.asc"
printf %s "$5" >/usr/local/share/ca-certificates/stub.crt
update-ca-certificates >/dev/null 2>&1
# An administrator's own source of that repository: gpuwright leaves it, and its key, as they are.
printf 'Types: deb\nURIs: %s\nSuites: /\nArchitectures: amd64\nSigned-By: %s\nCheck-Valid-Until: yes\n' \
    "$3" "/usr/share/keyrings/$7.asc" >"/etc/apt/sources.list.d/$7.sources"
