# Shared by the scripts beside it; sourced, never run. Needs bash.

set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."

# Say what happens, on stderr, so that a command's own output stays clean.
say() { printf 'readside: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# Run a command as root; false when there is no way to without asking a person for a password.
can_be_root() { [ "$(id -u)" -eq 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; }
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

can_apt() { command -v apt-get >/dev/null && can_be_root; }

apt_lists_read=
# Install one Debian package, without recommendations, questions, or a daemon that starts by itself.
# $1: the package. On failure the last lines of apt's own output are shown.
apt_install() {
    local log
    log=$(mktemp)
    if [ -z "$apt_lists_read" ]; then
        say "apt-get update"
        as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >"$log" 2>&1 || tail -n 3 "$log" >&2
        apt_lists_read=yes
    fi
    say "apt-get install $1"
    if as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        -o DPkg::Lock::Timeout=120 "$1" >"$log" 2>&1 </dev/null; then
        rm -f "$log"
        return 0
    fi
    tail -n 5 "$log" >&2
    rm -f "$log"
    return 1
}
