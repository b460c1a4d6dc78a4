#!/bin/sh
# Builds and runs every harness, or those named, for a number of seconds each. An input that breaks a property is
# left in Fuzz/Findings, and the exit status is 1.
#
#     Fuzz/run.sh [SECONDS] [HARNESS...]      run.sh 600 FuzzConf
#
# With SEED=number in the environment the search takes the same way each time.
#
# New inputs go to Fuzz/Grown, which is not committed; the seeds in Fuzz/Corpus stay as they are.
set -eu
cd "$(dirname "$0")"
seconds=${1:-30}
[ $# -eq 0 ] || shift
if [ $# -eq 0 ]; then
    cd Sources
    set -- Fuzz*
    cd ..
fi

# Swift's own backtracer would swallow the crash that libFuzzer reports.
export SWIFT_BACKTRACE=enable=no
# Swift keeps pointers in the spare bits of enums, where LeakSanitizer does not find them: it takes what lives for the
# whole run (a harness's keys) for leaked. Memory that grows is caught by the limit on the resident size.
export ASAN_OPTIONS=detect_leaks=0
status=0

# Optimised as shipped: preconditions, bounds and overflow are still checked. `--sanitize fuzzer` keeps SwiftPM from
# asking for a main; the pair is said once more in one option, as of two options the compiler takes the later one,
# and without `fuzzer` there is no coverage to follow.
build() {
    swift build -c release --sanitize fuzzer -Xswiftc -sanitize=fuzzer,address "$@"
}

for harness in "$@"; do
    build --product "$harness"
    name=$(printf %s "${harness#Fuzz}" | sed 's/\([a-z]\)\([A-Z]\)/\1-\2/g' | tr '[:upper:]' '[:lower:]')
    mkdir -p "Grown/$name" "Findings/$name" "Corpus/$name"
    echo "== $harness, $seconds s"
    # No coverage, no fuzzing: rather fail than look busy.
    readelf -SW "$(build --show-bin-path)/$harness" | grep -q __sancov_cntrs || {
        echo "$harness is built without coverage" >&2
        exit 2
    }
    # Inputs of up to 4 KiB: one step over every limit that the harnesses set.
    "$(build --show-bin-path)/$harness" \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -seed="${SEED:-0}" \
        -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="Findings/$name/" "Grown/$name" "Corpus/$name" || status=1
done
exit $status
