#!/usr/bin/env bash
# What needs an NVIDIA card: its tests, and times of the engine for it. Under 8 minutes.
#   tests/benchmarks/on_device.sh [FOLDER]      (default: on_device)
# leaves tests.xml, bench-W1.json … and machine.txt in FOLDER. It uses the Python of the environment that
# is active, where `pip install -e ".[test,cuda]"` and a torch for that CUDA are.
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-on_device}"
mkdir -p "$out"
{ nvidia-smi; python -m sdfrender --version; } >"$out/machine.txt" 2>&1 || true

failed=0
echo "=== tests (after $SECONDS s)"
timeout 150 python -m pytest -n 0 -q -m "slow or not slow" --junitxml "$out/tests.xml" \
    tests/sdfrender/engines/test_engine_cuda.py || failed=1
for work in W1 W2 W3; do  # each a file of its own, so that what is done stays
    echo "=== $work (after $SECONDS s)"
    left=$((460 - SECONDS))
    if [[ $left -lt 10 ]]; then echo "no time is left for $work" >&2; failed=1; break; fi
    timeout "$left" python -m sdfrender bench --workloads "$work" --only cuda --quick --json \
        >"$out/bench-$work.json" || failed=1
done
echo "=== done (after $SECONDS s): $out"
exit "$failed"
