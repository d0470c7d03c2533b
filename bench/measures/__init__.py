"""What is measured; one module a measurement."""
