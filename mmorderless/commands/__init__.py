"""The command-line tools, one file each; `tools/` starts them."""
