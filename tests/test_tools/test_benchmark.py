import json
import os
import subprocess
import sys

import pytest


def benchmark(repository, *arguments):
    return subprocess.run(
        [sys.executable, str(repository / "tools/benchmark.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


GRU_AND_TRANSFORMER = ["AttentionGRU,", "TransformerLabelDecoder,"]  # have no baseline
MEASURED = {
    "alignment": ["MLA"] * 2 + ["PLA"] * 2,
    "decoder": ["decoder,"] * 3 + GRU_AND_TRANSFORMER + ["decoder,"] * 2,
}


@pytest.mark.slow_except("alignment")
@pytest.mark.parametrize("part", MEASURED)
def test_a_part_in_a_table_and_as_json(part, repository, tmp_path):
    out = tmp_path / "new" / "results.json"
    options = ["--quick", "--repeats", "2", "--threads", "1", "--batch", "6"]
    done = benchmark(repository, part, *options, "--dtype", "bf16", "--out", str(out))
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text(encoding="utf-8"))
    assert results["machine"]["threads"] == 1
    assert results["machine"]["dtype"] == "bf16"
    rows = results["parts"][part]
    assert [row["what"].split()[0] for row in rows] == MEASURED[part]
    for row in rows:
        assert row["setting"]["B"] == 6
        assert row["setting"]["T"] > 1
        number = 1 if row["unit"] == "MB" else 2
        assert len(row["ours"]["samples"]) == number
        if row["what"].split()[0] not in GRU_AND_TRANSFORMER:
            assert len(row["baseline"]["samples"]) == number
        assert f"| {row['what']} | " in done.stdout
