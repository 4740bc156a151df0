#!/usr/bin/env bash
# Fetch Chromium and its driver, in which the tests open the report and the tables.
# Where it cannot be had, say so and go on: those tests are skipped, with the reason.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/say.sh
mkdir -p .make
log=.make/browser.log
: >"$log"

is_there() { command -v chromium >/dev/null && command -v chromedriver >/dev/null; }

if ! is_there && ((EUID == 0)) && command -v apt-get >/dev/null; then
    with_progress apt-get apt-get update || say "apt-get update failed; see $log"
    with_progress apt-get env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends chromium chromium-driver ||
        say "apt-get could not install chromium; the reason is at the end of $log"
    hash -r
fi
if is_there; then
    say "browser: $(chromium --version 2>/dev/null | head -n 1)"
else
    say "no Chromium: the tests that open pages are skipped (Debian: sudo apt-get install chromium chromium-driver)"
fi
