"""Throw-away Debian hosts on this machine: systemd, sshd, sudo, apt and room for a container engine."""
