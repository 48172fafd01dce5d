#!/usr/bin/env bash
# Train, test and use a classifier on a CPU in a few minutes, from a fresh clone:
#   bash tools/quickstart.sh
# Environment: VENV, the folder of the Python environment; OUT, the folder of the results; PYTHON,
# the interpreter of the environment.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

VENV=$(absolute "${VENV:-$ROOT/.venv}")
OUT=$(absolute "${OUT:-$ROOT/work_dirs/quickstart}")
make_environment "$VENV" onedl
cd "$ROOT"
hold "$OUT" 8 OUT
PYTHON=$VENV/bin/python
# One core is left for the process that loads images; more threads than cores are much slower.
CORES=$(count_cores)
THREADS=$((CORES > 4 ? 4 : CORES > 1 ? CORES - 1 : 1))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$THREADS}
mkdir -p "$OUT"
LOG=$OUT/log.txt
: >"$LOG"
echo "== log: $LOG"

last_checkpoint() {
    local program='import sys; from mmorderless.runs.checkpoint_files import last_checkpoint
print(last_checkpoint(sys.argv[1]) or sys.exit(f"error: no whole checkpoint in {sys.argv[1]}"))'
    "$PYTHON" -c "$program" "$1" 2>>"$LOG" | tail -n 1
}

echo "== 1/4 BCE: train an encoder with a linear head, 8 epochs (first, scenes are drawn)"
logged "$LOG" "$PYTHON" tools/train.py configs/digits/bce_digits.py --work-dir "$OUT/bce" \
    --cfg-options train_cfg.max_epochs=8
BCE=$(last_checkpoint "$OUT/bce") || failed "$LOG" $?
echo "== 2/4 PLA: train the attention LSTM on this encoder, 16 epochs"
logged "$LOG" "$PYTHON" tools/train.py configs/digits/pla_digits.py --work-dir "$OUT/pla" \
    --cfg-options load_from="$BCE"
PLA=$(last_checkpoint "$OUT/pla") || failed "$LOG" $?
echo "== 3/4 test both"
logged "$LOG" "$PYTHON" tools/test.py configs/digits/bce_digits.py "$BCE" --work-dir "$OUT/bce" \
    --out "$OUT/bce.json"
logged "$LOG" "$PYTHON" tools/test.py configs/digits/pla_digits.py "$PLA" --work-dir "$OUT/pla" \
    --out "$OUT/pla.json"
echo "== 4/4 predict the labels of 10 test scenes"
IMAGES=$(ls -d data/digit_scenes/v*_test_1000x48px_seed0/images | tail -n 1)
logged "$LOG" "$PYTHON" tools/predict.py configs/digits/pla_digits.py "$PLA" "$IMAGES"/0000?.png \
    --out-dir "$OUT/predictions"

TABLE=$("$PYTHON" tools/summarize.py BCE="$OUT/bce.json" PLA="$OUT/pla.json" 2>>"$LOG") ||
    failed "$LOG" $?
echo
echo "Results on the 1,000 test scenes (percent)"
grep '^|' <<<"$TABLE"
echo
echo "checkpoint:             $PLA"
echo "predictions:            $OUT/predictions/predictions.json"
echo "annotated pictures:     $OUT/predictions/pictures/"
echo "figures of the test:    $(ls -td "$OUT"/pla/*/label_sets/test | head -n 1)"
