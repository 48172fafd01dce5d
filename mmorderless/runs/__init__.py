"""Parts of a run: config, command-line options, processes, checkpoint files, records."""
