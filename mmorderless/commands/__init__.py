"""Command-line tools, one per file; the scripts in `tools/` start them."""
