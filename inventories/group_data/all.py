"""Settings of every host of every inventory here."""

_sudo = True  # roles write below /etc; a login that is root already loses nothing by it
