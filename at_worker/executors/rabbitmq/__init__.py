"""A message to a RabbitMQ broker: the task type `rabbitmq`."""

from at_worker.executors.rabbitmq.executor import RabbitMQ

__all__ = ["RabbitMQ"]
