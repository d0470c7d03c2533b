from at_worker.executors.rabbitmq.message import Message
from at_worker.executors.rabbitmq.standing import LONGEST_SHARED, MOST_EXCHANGES, Standing


def message(exchange: str = "shop", size: int = 10) -> Message:
    return Message(exchange, "key", b"x" * size, {})


def test_an_exchange_is_trusted_once_it_has_proven_itself() -> None:
    standing = Standing()
    assert not standing.may_share(message())
    standing.confirmed(message())
    assert standing.may_share(message())
    assert not standing.may_share(message("other"))


def test_a_long_message_shares_no_channel() -> None:
    standing = Standing()
    standing.confirmed(message())
    assert standing.may_share(message(size=LONGEST_SHARED))
    assert not standing.may_share(message(size=LONGEST_SHARED + 1))


def test_a_message_that_is_over_the_brokers_limit_lowers_ours() -> None:
    standing = Standing()
    standing.confirmed(message())
    standing.refused(message(size=5000), 406)
    assert standing.may_share(message(size=4999))
    assert not standing.may_share(message(size=5000))


def test_a_doubted_exchange_is_trusted_again_when_it_confirms() -> None:
    standing = Standing()
    standing.confirmed(message())
    standing.doubt([message(), message("never seen")])
    assert not standing.may_share(message())
    standing.confirmed(message())
    assert standing.may_share(message())
    assert not standing.may_share(message("never seen"))


def test_an_exchange_that_was_the_culprit_is_not_trusted_again() -> None:
    standing = Standing()
    standing.confirmed(message())
    standing.doubt([message()])
    standing.refused(message(), 404)
    standing.confirmed(message())
    assert not standing.may_share(message())


def test_an_exchange_that_was_missing_at_first_can_be_trusted_later() -> None:
    standing = Standing()
    standing.refused(message(), 404)
    standing.confirmed(message())
    assert standing.may_share(message())


def test_the_number_of_exchanges_that_are_remembered_is_bounded() -> None:
    standing = Standing()
    for number in range(MOST_EXCHANGES + 1):
        standing.confirmed(message(str(number)))
    assert standing.may_share(message(str(MOST_EXCHANGES - 1)))
    assert not standing.may_share(message(str(MOST_EXCHANGES)))
