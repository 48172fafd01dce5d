"""Parts of the fuzzer that `test_fuzz.py` runs."""
