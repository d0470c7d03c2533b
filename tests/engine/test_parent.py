import socket

from at_worker.engine.parent import STOP, Parent
from at_worker.engine.stop import Stop


def test_a_worker_that_was_told_to_stop_while_it_started_does_not_begin() -> None:
    stop = Stop()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.send(STOP)
        with Parent(theirs, stop, patience=0):
            assert stop.wait(0)
