"""An HTTP request: the task type `http_callback`."""

from at_worker.executors.http_callback.executor import HttpCallback

__all__ = ["HttpCallback"]
