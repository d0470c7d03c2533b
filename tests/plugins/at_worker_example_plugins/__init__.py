"""Example plug-ins for at-worker: `thumbnail` scales an image file, `analytics` records an event."""
