#!/bin/sh
# Installs ngspice, its shared library and Python's venv module if they are missing, and with the argument `browser` also
# what only the tests need: the browser for those of reports, and the linker for cells in Verilog-A. Without the rights to do
# so, prints the command to run.
set -eu

missing=""
command -v "${NORSIM_NGSPICE:-ngspice}" >/dev/null 2>&1 || missing="$missing ngspice"
ldconfig -p 2>/dev/null | grep -q 'libngspice\.so' || missing="$missing libngspice0"
python3 -c 'import ensurepip' >/dev/null 2>&1 || missing="$missing python3-venv"
if [ "${1:-}" = browser ]; then
    command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
    command -v ld >/dev/null 2>&1 || missing="$missing binutils"
    command -v chromedriver >/dev/null 2>&1 || missing="$missing chromium-driver"
fi
[ -n "$missing" ] || exit 0

as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo -n"
if command -v apt-get >/dev/null 2>&1 && $as_root true 2>/dev/null; then
    echo "installing$missing"
    $as_root apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq $missing >/dev/null
else
    echo "norsim needs$missing, but this account cannot install packages. On Debian or Ubuntu run:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y$missing" >&2
    echo "On other systems install them by other means (ngspice 39 or later), then run make again." >&2
    exit 3
fi
