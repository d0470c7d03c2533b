"""dramatiq with RabbitMQ."""

from bench.contenders.contender import BIN, Contender

RUN = (BIN / "dramatiq", "bench.apps.dramatiq")

CONTENDERS = (
    Contender(
        "dramatiq + RabbitMQ",
        "defaults",
        "none (two processes of eight threads)",
        "dramatiq",
        "dramatiq",
        RUN,
        8_000,
        puts=1_200,
        needs_broker=True,
    ),
    Contender(
        "dramatiq + RabbitMQ",
        "tuned",
        "--processes 2 --threads 16, dramatiq_queue_prefetch=500",
        "dramatiq",
        "dramatiq",
        (*RUN, "--processes", "2", "--threads", "16"),
        8_000,
        puts=1_200,
        environment={"dramatiq_queue_prefetch": "500"},
        needs_broker=True,
        tuned=True,
    ),
)
