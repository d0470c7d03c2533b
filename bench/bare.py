"""What a plain script would do: `python -m bench.bare http|rabbitmq|mail COUNT THREADS TARGET...`.

The clients that at-worker is compared with; prints when each call had returned.
"""

import json
import smtplib
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage

import pika
import requests

TIMEOUT = 30
BODY = b'{"order": 42, "customer": "c-1017", "total": "129.90", "ok": true}'


def http(url: str) -> Callable[[int], None]:
    """One requests session a thread, its connection kept alive."""
    local = threading.local()

    def call(_number: int) -> None:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        answer = local.session.post(
            url, data=BODY, headers={"Content-Type": "application/json"}, timeout=TIMEOUT
        )
        answer.raise_for_status()

    return call


def rabbitmq(url: str, queue: str) -> Callable[[int], None]:
    """One blocking connection that waits for the confirm of each message."""
    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    channel.confirm_delivery()
    properties = pika.BasicProperties(content_type="application/json", delivery_mode=2)

    def call(_number: int) -> None:
        channel.basic_publish("", queue, BODY, properties, mandatory=True)

    return call


def mail(port: str) -> Callable[[int], None]:
    """One smtplib connection a mail."""

    def call(number: int) -> None:
        message = EmailMessage()
        message["From"], message["To"] = "bench@example.org", f"c-{number}@example.org"
        message["Subject"] = f"Order {number}"
        message.set_content("Thank you for your order.")
        with smtplib.SMTP("127.0.0.1", int(port), timeout=TIMEOUT) as client:
            client.send_message(message)

    return call


CLIENTS: dict[str, Callable[..., Callable[[int], None]]] = {"http": http, "rabbitmq": rabbitmq, "mail": mail}


def main() -> None:
    """Make all calls from so many threads."""
    kind, count, threads, *target = sys.argv[1:]
    call = CLIENTS[kind](*target)

    def timed(number: int) -> float:
        call(number)
        return time.time()

    if int(threads) == 1:
        ended = [timed(number) for number in range(int(count))]
    else:
        with ThreadPoolExecutor(int(threads)) as pool:
            ended = list(pool.map(timed, range(int(count))))
    json.dump(ended, sys.stdout)


if __name__ == "__main__":
    main()
