"""What tools/check_gpu.py checks: equality with the CPU, trainings, and times."""
