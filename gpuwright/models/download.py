"""The host fetches a file itself, with curl: resumed, bounded in patience, with its progress shown."""

from __future__ import annotations

from urllib.parse import urlsplit

from gpuwright.errors import GpuwrightError
from gpuwright.models import hub
from gpuwright.models.remote import Remote, Variables
from gpuwright.models.sources import ModelFile

_CONNECT_S = 20
_STALL_S = 60
_STALL_BYTES_PER_S = 1024

# curl's own --retry throws away what it had, so the loop is here; only attempts that gain nothing count.
# Exit codes of curl: 22 the server refused, 23 write error, 33 no ranges, 35/51/58/60/77/83/91 TLS.
_FETCH = """
config=$(cat)
partial="$store/.partial/$key"
log="$partial.log"
pid=
trap 'if [ -n "$pid" ]; then kill "$pid"; fi; exit 1' HUP INT TERM PIPE
size() { stat -c %s "$partial"; }
progress() {
  now=$(size)
  rate=$(((now - last) / 5000000))
  last=$now
  if [ "$total" -gt 0 ]; then
    printf '%s: %d of %d MB (%d %%, %d MB/s)\\n' \
      "$label" $((now / 1000000)) $((total / 1000000)) $((now * 100 / total)) "$rate"
  else
    printf '%s: %d MB (%d MB/s)\\n' "$label" $((now / 1000000)) "$rate"
  fi
}
: >>"$partial"
failures=0
while :; do
  before=$(size)
  if [ "$total" -gt 0 ] && [ "$before" -eq "$total" ]; then exit 0; fi
  printf '%s\\n' "$config" | curl --config - --output "$partial" --continue-at - >"$log" 2>&1 &
  pid=$!
  last=$before
  ticks=0
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.2
    ticks=$((ticks + 1))
    if [ $((ticks % 25)) -eq 0 ]; then progress; fi
  done
  wait "$pid"
  status=$?
  pid=
  code=$(tail -n 1 "$log")
  reason=$(head -n 1 "$log")
  rm -f "$log"
  if [ "$status" -eq 0 ]; then
    if [ "$(size)" -ge "$total" ]; then exit 0; fi
    # Seen with curl 8.14: a 206 without Content-Range, as long as what we have, is taken for the whole.
    reason='the server does not say which range it sent'
    status=33
  fi
  # The server has nothing after our last byte: the digest decides.
  if [ "$code" = 416 ] && [ "$before" -gt 0 ]; then exit 0; fi
  if [ "$status" -eq 33 ]; then : >"$partial"; fi
  failures=$((failures + 1))
  if [ "$(size)" -gt "$before" ]; then failures=1; fi
  final=
  case "$status:$code" in
    22:408 | 22:429) ;;
    22:4??) final=yes ;;
    1:* | 2:* | 3:* | 23:* | 35:* | 51:* | 58:* | 60:* | 77:* | 83:* | 91:*) final=yes ;;
  esac
  if [ -n "$final" ] || [ "$failures" -ge "$attempts" ]; then
    printf '%s\\n' "$reason"
    exit 1
  fi
  printf '%s: %s; going on at %d MB\\n' "$label" "$reason" $(($(size) / 1000000))
  sleep $((failures * 2 - 1))
done
"""

_ATTEMPTS = 5


def download(remote: Remote, label: str, file: ModelFile, size: int | None) -> None:
    """Make the partial file of `file` complete; a partial that is there already is continued.

    Raises GpuwrightError where the server refuses, or after five attempts in a row that brought nothing.
    """
    variables: Variables = {"key": file.key, "label": label, "total": size or 0, "attempts": _ATTEMPTS}
    answer = remote.run(_FETCH, variables, _config(file), show=True)
    if not answer.ok:
        raise GpuwrightError.of(
            label,
            f"{file.shown} was not downloaded: {answer.reason}",
            "a server that the host reaches and trusts, and that sends the file",
            "Correct the source or the host's way out (proxy, CA, HF_TOKEN); a later run resumes",
        )


def size_of(remote: Remote, file: ModelFile) -> int | None:
    """The bytes that the server announces for `file`, asked from the host; None where it does not say."""
    answer = remote.run("curl --config - --head 2>/dev/null", {}, _config(file, limit_s=_STALL_S))
    sizes = [
        value.strip()
        for name, _, value in (line.partition(":") for line in answer.lines)
        if name.strip().lower() == "content-length"
    ]
    return int(sizes[-1]) if answer.ok and sizes and sizes[-1].isdigit() else None


def _config(file: ModelFile, limit_s: int = 0) -> str:
    """curl's options as a config text for its standard input: argv is readable by every user of the host."""
    url = str(file.where)
    schemes = "=https" if urlsplit(url).scheme == "https" else "=http,https"
    lines = ["fail", "silent", "show-error", "location", "globoff", f"url = {_quoted(url)}"]
    lines += [f"proto = {_quoted(schemes)}", f"proto-redir = {_quoted(schemes)}"]
    lines += [f"connect-timeout = {_CONNECT_S}"]
    lines += [f"speed-limit = {_STALL_BYTES_PER_S}", f"speed-time = {_STALL_S}"]
    if limit_s:
        lines.append(f"max-time = {limit_s}")
    else:
        lines.append(r'write-out = "\n%{http_code}"')
    token = hub.token() if file.hub else None
    if token:
        # curl drops this header where the hub redirects to another host.
        lines.append(f"header = {_quoted(f'Authorization: Bearer {token}')}")
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
