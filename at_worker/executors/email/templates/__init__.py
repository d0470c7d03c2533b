"""Templates for mails, in a sandbox. Only a worker that has some imports this, and with it Jinja2."""

from at_worker.executors.email.templates.rendering import Templates

__all__ = ["Templates"]
