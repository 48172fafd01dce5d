import json
import os
import subprocess
import sys


def benchmark(repository, *arguments):
    return subprocess.run(
        [sys.executable, str(repository / "tools/benchmark.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_alignment_and_decoder_in_a_table_and_as_json(repository, tmp_path):
    out = tmp_path / "new" / "results.json"
    parts = ["alignment", "decoder", "--quick", "--repeats", "2", "--threads", "1", "--batch", "6"]
    done = benchmark(repository, *parts, "--dtype", "bf16", "--out", str(out))
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text(encoding="utf-8"))
    assert results["machine"]["threads"] == 1
    assert results["machine"]["dtype"] == "bf16"
    rows = [row for part in ("alignment", "decoder") for row in results["parts"][part]]
    measured = [row["what"].split()[0] for row in rows]
    others = ["AttentionGRU,", "TransformerLabelDecoder,"]
    assert measured == ["MLA"] * 2 + ["PLA"] * 2 + ["decoder,"] * 5 + others
    for row in rows:
        assert row["setting"]["B"] == 6
        assert row["setting"]["T"] > 1
        number = 1 if row["unit"] == "MB" else 2
        assert len(row["ours"]["samples"]) == number
        if row["what"].split()[0] not in others:
            assert len(row["baseline"]["samples"]) == number
        assert f"| {row['what']} | " in done.stdout


def test_errors_are_one_line(repository):
    done = benchmark(repository, "alignmnet")
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert errors[0].startswith("error: unknown part 'alignmnet'; choose from alignment, decoder, ")
