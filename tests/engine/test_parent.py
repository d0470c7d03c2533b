import itertools
import socket

from at_worker.engine.parent import LARGEST_MESSAGE, STOP, UNASKED, Parent
from at_worker.engine.report import Report
from at_worker.engine.stop import Stop


def test_a_worker_that_was_told_to_stop_while_it_started_does_not_begin() -> None:
    stop = Stop()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.send(STOP)
        with Parent(theirs, stop, patience=0):
            assert stop.wait(0)


def test_a_parent_that_reads_no_answers_can_still_stop_its_worker() -> None:
    stop = Stop()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, Parent(theirs, stop, patience=0) as parent:
        parent.begin(lambda: Report(None, {"types": [0.0] * 5000}))
        for number in range(1, 100):
            ours.send(str(number).encode())
        ours.send(STOP)
        assert stop.wait(5)


def test_a_worker_tells_what_it_counted_at_the_beginning_and_at_the_end() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        counted = iter([1, 2])
        with Parent(theirs, Stop(), patience=0) as parent:
            parent.begin(lambda: Report(None, {"outages": next(counted)}))
        told = [Report.unpacked(ours.recv(LARGEST_MESSAGE)) for _ in range(2)]
    assert told == [(UNASKED, Report(None, {"outages": 1})), (UNASKED, Report(None, {"outages": 2}))]


def test_the_last_word_is_the_last_that_a_parent_hears_whatever_it_asks_meanwhile() -> None:
    for _ in range(50):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        counted = itertools.count()
        with ours:
            with Parent(theirs, Stop(), patience=0) as parent:
                parent.begin(lambda: Report(None, {"outages": next(counted)}))  # noqa: B023 - of this round
                for number in range(1, 100):
                    ours.send(str(number).encode())
            told = []
            while message := ours.recv(LARGEST_MESSAGE):
                told.append(Report.unpacked(message))
        assert told[-1] == (UNASKED, Report(None, {"outages": next(counted) - 1}))
