#!/bin/sh
# What each seam of a request costs, against a reference that runs in the same process in turns with it; and what a million
# remembered tokens and nonces hold and how long any step with them takes.
#
#     Benchmarks/seams.sh [WORD...]      those whose names contain a word; without one all
#     Benchmarks/seams.sh memory         the million tokens and nonces; 2 GB, half a minute
set -eu
cd "$(dirname "$0")"
# Planned anew: of a file that came into the gateway's targets an old plan knows nothing.
rm -f .build/release.yaml
swift build -c release --product Seams
# On one processor, so that nothing is moved while it is timed.
exec taskset -c 0 "$(swift build -c release --show-bin-path)/Seams" "$@"
