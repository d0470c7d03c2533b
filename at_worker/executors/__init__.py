"""What a task does: one module for each type."""
