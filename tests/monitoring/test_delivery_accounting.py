import msgspec

from serving.channel.messages.observation import Position, Taken
from serving.monitoring.delivery_accounting import MAX_GATEWAYS, DeliveryAccounting, Tally


def position(sequence: int, gateway: str = "g", incarnation: int = 1) -> Position:
    """Every message holds 2 requests with 5 rows."""
    return Position(gateway, incarnation, sequence, sequence * 2, sequence * 5)


def test_nothing_is_lost_when_everything_arrives():
    delivery = DeliveryAccounting()
    for sequence in range(3):
        delivery.arrived(position(sequence), 2, 5)
    assert delivery.received == Tally(3, 6, 15)
    assert delivery.lost == Tally()


def test_a_gap_is_lost_to_the_row():
    delivery = DeliveryAccounting()
    delivery.arrived(position(0), 2, 5)
    delivery.arrived(position(3), 2, 5)
    assert delivery.lost == Tally(2, 4, 10)


def test_a_position_alone_shows_the_gap():
    delivery = DeliveryAccounting()
    delivery.at(position(4))
    assert delivery.lost == Tally(4, 8, 20)
    delivery.at(position(4))
    assert delivery.lost == Tally(4, 8, 20)


def test_what_comes_twice_counts_once():
    delivery = DeliveryAccounting()
    delivery.at(position(2))
    assert not delivery.arrived(position(1), 2, 5)  # it is counted as lost, and stays so
    assert delivery.arrived(position(2), 2, 5)
    assert not delivery.arrived(position(2), 2, 5)
    assert delivery.received == Tally(1, 2, 5)
    assert delivery.lost == Tally(2, 4, 10)


def test_it_tells_up_to_where_it_has_everything():
    delivery = DeliveryAccounting()
    assert delivery.taken(position(4)) == Taken(1, 0)
    delivery.arrived(position(0), 2, 5)
    delivery.arrived(position(1), 2, 5)
    assert delivery.taken(position(9)) == Taken(1, 2)
    assert delivery.taken(position(9, incarnation=2)) == Taken(2, 0)


def test_gateways_and_their_restarts_count_by_themselves():
    delivery = DeliveryAccounting()
    delivery.arrived(position(0, "a"), 2, 5)
    delivery.arrived(position(0, "b"), 2, 5)
    delivery.arrived(position(0, "a", incarnation=2), 2, 5)
    assert delivery.lost == Tally()


def test_a_restart_counts_what_came_after_the_checkpoint_as_lost():
    delivery = DeliveryAccounting()
    delivery.arrived(position(0), 2, 5)
    saved = msgspec.json.decode(msgspec.json.encode(delivery.state()))
    delivery.arrived(position(1), 2, 5)
    after = DeliveryAccounting()
    after.restore(saved)
    after.at(position(2))
    assert after.received == Tally(1, 2, 5)
    assert after.lost == Tally(1, 2, 5)


def test_memory_is_bounded():
    delivery = DeliveryAccounting()
    for number in range(MAX_GATEWAYS + 10):
        delivery.arrived(position(0, f"g{number}"), 2, 5)
    assert len(delivery.state()["expected"]) == MAX_GATEWAYS
