#!/usr/bin/env bash
# From nothing to a trained, tested and used classifier, on a CPU, in a few minutes:
#   bash tools/quickstart.sh
# Environment: VENV, the folder of the Python environment; OUT, the folder of the results; PYTHON,
# the interpreter to build on.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

VENV=$(absolute "${VENV:-$ROOT/.venv}")
OUT=${OUT:-work_dirs/quickstart}
make_environment "$VENV" onedl
cd "$ROOT"
PYTHON=$VENV/bin/python
# One core is left to the process that loads images: threads beyond the cores collapse the speed.
CORES=$(getconf _NPROCESSORS_ONLN)
THREADS=$((CORES > 4 ? 4 : CORES > 1 ? CORES - 1 : 1))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$THREADS}

echo "== 1/4 BCE: a linear head warms up the encoder for 8 epochs (first, scenes are drawn)"
"$PYTHON" tools/train.py configs/digits/bce_digits.py --work-dir "$OUT/bce" \
    --cfg-options train_cfg.max_epochs=8
echo "== 2/4 PLA: the attention LSTM learns to emit label sets, 16 epochs"
"$PYTHON" tools/train.py configs/digits/pla_digits.py --work-dir "$OUT/pla" \
    --cfg-options load_from="$(cat "$OUT/bce/last_checkpoint")"
CHECKPOINT=$(cat "$OUT/pla/last_checkpoint")
echo "== 3/4 test"
"$PYTHON" tools/test.py configs/digits/bce_digits.py "$(cat "$OUT/bce/last_checkpoint")" \
    --work-dir "$OUT/bce" --out "$OUT/bce.json"
"$PYTHON" tools/test.py configs/digits/pla_digits.py "$CHECKPOINT" --work-dir "$OUT/pla" \
    --out "$OUT/pla.json"
echo "== 4/4 predict"
IMAGES=$(ls -d data/digit_scenes/v*_test_1000x48px_seed0/images | tail -n 1)
"$PYTHON" tools/predict.py configs/digits/pla_digits.py "$CHECKPOINT" "$IMAGES"/0000?.png \
    --out-dir "$OUT/predictions"

echo
TABLE=$("$PYTHON" tools/summarize.py BCE="$OUT/bce.json" PLA="$OUT/pla.json" 2>/dev/null)
echo "Results on the 1,000 test scenes (percent)"
grep '^|' <<<"$TABLE"
echo
echo "checkpoint:             $CHECKPOINT"
echo "predictions:            $OUT/predictions/predictions.json"
echo "annotated pictures:     $OUT/predictions/pictures/"
echo "figures of the test:    $(ls -td "$OUT"/pla/*/label_sets/test | head -n 1)"
