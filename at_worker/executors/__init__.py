"""What a task does: one package for each type."""
