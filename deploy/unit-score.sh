#!/bin/bash
# Fails when the unit's exposure, as systemd-analyze scores it, is above the limit: unit-score.sh [LIMIT]
set -euo pipefail
cd "$(dirname "$0")"
limit=${1:-2.0}
report=$(systemd-analyze security --offline=yes --no-pager gatehouse.service)
score=$(sed -n 's/^.*Overall exposure level for gatehouse.service: \([0-9.]*\) .*$/\1/p' <<<"$report")
echo "gatehouse.service: exposure ${score:?systemd-analyze gave no score}, limit $limit"
awk -v score="$score" -v limit="$limit" 'BEGIN { exit !(score <= limit) }' ||
    { grep '✗' <<<"$report" >&2; exit 1; }
