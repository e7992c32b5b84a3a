#!/usr/bin/env bash
# What needs an NVIDIA card: its tests, and times of the engine and of fits on it. Under 8 minutes.
#   tests/benchmarks/on_device.sh [FOLDER] [MESH]      (default: on_device, a mesh of our own)
# leaves tests-engine.xml, tests-steps.xml, bench-W1.json …, fits.json and machine.txt in FOLDER. It
# uses the Python of the environment that is active, where `pip install -e ".[test,cuda]"` and a
# torch for that CUDA are.
# MESH: what is fitted, for example spot.
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-on_device}"
mesh="${2:-}"
mkdir -p "$out"
python="$(command -v python || command -v python3)"
{ nvidia-smi; "$python" -m sdfrender --version; } >"$out/machine.txt" 2>&1 || true

failed=0
bench() {  # a workload, and the second at which it must be over; each leaves a file of its own
    local left=$(($2 - SECONDS))
    echo "=== $1 (after $SECONDS s)"
    if [[ $left -lt 10 ]]; then echo "no time is left for $1" >&2; failed=1; return; fi
    timeout "$left" "$python" -m sdfrender bench --workloads "$1" --only cuda --quick --json \
        >"$out/bench-$1.json" || failed=1
}
tests() {  # a name, the seconds that it may take, and what to run; each leaves a file of its own
    echo "=== $1 (after $SECONDS s)"
    timeout "$2" "$python" -m pytest -n 0 -q -m "slow or not slow" --junitxml "$out/tests-$1.xml" \
        "${@:3}" || failed=1
}
tests engine 120 tests/sdfrender/engines/test_engine_cuda.py \
    -k "a_card_shows or on_a_card or deterministic"
tests steps 60 tests/multiview/optimize/test_card_steps.py -k "steps_on_a_card"
bench W1 240
bench W2 300
bench W3 350
echo "=== fits (after $SECONDS s)"
timeout "$((475 - SECONDS))" "$python" tests/benchmarks/fit_on_device.py "$out" \
    ${mesh:+--mesh "$mesh"} || failed=1
echo "=== done (after $SECONDS s): $out"
exit "$failed"
