#!/usr/bin/env bash
# Puts Prometheus and promtool into a folder: those that are installed, or else Debian's package,
# unpacked and not installed, which needs no root.
set -euo pipefail
mkdir -p "$1/bin"
place=$(cd "$1" && pwd)
for program in prometheus promtool; do
    if found=$(command -v "$program"); then ln -sf "$found" "$place/bin/$program"; fi
done
if [ ! -x "$place/bin/promtool" ] || [ ! -x "$place/bin/prometheus" ]; then
    command -v apt-get >/dev/null || {
        echo "install Prometheus, with promtool, so that both are in the PATH: https://prometheus.io/download" >&2
        exit 1
    }
    unpacked=$(mktemp -d)
    trap 'rm -rf "$unpacked"' EXIT
    cd "$unpacked"
    # A machine that is new has no lists of packages yet.
    apt-get download -qq prometheus 2>/dev/null || { apt-get update -qq && apt-get download -qq prometheus; }
    dpkg -x prometheus_*.deb .
    cp usr/bin/prometheus usr/bin/promtool "$place/bin/"
fi
"$place/bin/promtool" --version 2>&1 | head -1
touch "$place/.ready"
