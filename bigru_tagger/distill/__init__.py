"""Distillation: training of a small pipeline on the outputs of a large one."""
