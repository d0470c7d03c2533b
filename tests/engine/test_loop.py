import pytest

from at_worker.engine.loop import Loop
from at_worker.store.errors import Unavailable


def test_each_trouble_of_a_loop_is_told_once_also_when_they_take_turns(
    caplog: pytest.LogCaptureFixture,
) -> None:
    troubles = ["the disk is full", "a lock"] * 3

    def turn() -> float:
        raise Unavailable(troubles.pop())

    loop = Loop("settler", turn, lambda _: None)
    while troubles:
        assert loop._one_turn()
    told = ["The settler loop tries again: a lock", "The settler loop tries again: the disk is full"]
    assert caplog.messages == told
