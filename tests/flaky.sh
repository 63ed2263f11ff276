#!/bin/sh
# Runs the tests RUNS times, each with another seed, while another process keeps a core busy.
# Arguments are given to pytest. Goes on after a failure, so that one run tells how often each test fails; fails if any did.
set -u
: "${PYTHON:=.venv/bin/python}" "${RUNS:=10}" "${WORKERS:=2}"

"$PYTHON" -c 'while True: pass' &
busy=$!
trap 'kill $busy 2>/dev/null' EXIT
trap 'exit 130' INT TERM

failed=0
run=1
while [ "$run" -le "$RUNS" ]; do
  seed=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
  echo "== run $run of $RUNS: --randomly-seed=$seed"
  "$PYTHON" -m pytest -q -n "$WORKERS" -m "not long" --randomly-seed="$seed" "$@" ||
    failed=$((failed + 1))
  run=$((run + 1))
done
echo "== $failed of $RUNS runs failed"
[ "$failed" -eq 0 ]
