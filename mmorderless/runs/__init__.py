"""Configs, options, processes, checkpoint files and records of runs."""
