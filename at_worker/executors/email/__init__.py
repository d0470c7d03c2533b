"""A mail to an SMTP server: the task type `email`."""

from at_worker.executors.email.executor import Email

__all__ = ["Email"]
