import msgspec

from serving.channel.messages.observation import Position
from serving.monitoring.delivery_accounting import MAX_GATEWAYS, DeliveryAccounting, Tally


def position(sequence: int, gateway: str = "g", incarnation: int = 1) -> Position:
    """Every message holds 2 requests with 5 rows."""
    return Position(gateway, incarnation, sequence, sequence * 2, sequence * 5)


def test_nothing_is_lost_when_everything_arrives():
    ledger = DeliveryAccounting()
    for sequence in range(3):
        ledger.arrived(position(sequence), 2, 5)
    assert ledger.received == Tally(3, 6, 15)
    assert ledger.lost == Tally()


def test_a_gap_is_lost_to_the_row():
    ledger = DeliveryAccounting()
    ledger.arrived(position(0), 2, 5)
    ledger.arrived(position(3), 2, 5)
    assert ledger.lost == Tally(2, 4, 10)


def test_a_position_alone_shows_the_gap():
    ledger = DeliveryAccounting()
    ledger.at(position(4))
    assert ledger.lost == Tally(4, 8, 20)
    ledger.at(position(4))
    assert ledger.lost == Tally(4, 8, 20)


def test_what_arrives_late_is_not_lost_after_all():
    ledger = DeliveryAccounting()
    ledger.at(position(2))
    ledger.arrived(position(1), 2, 5)
    ledger.arrived(position(2), 2, 5)
    assert ledger.received == Tally(2, 4, 10)
    assert ledger.lost == Tally(1, 2, 5)


def test_gateways_and_their_restarts_count_by_themselves():
    ledger = DeliveryAccounting()
    ledger.arrived(position(0, "a"), 2, 5)
    ledger.arrived(position(0, "b"), 2, 5)
    ledger.arrived(position(0, "a", incarnation=2), 2, 5)
    assert ledger.lost == Tally()


def test_a_restart_counts_what_came_after_the_checkpoint_as_lost():
    ledger = DeliveryAccounting()
    ledger.arrived(position(0), 2, 5)
    saved = msgspec.json.decode(msgspec.json.encode(ledger.state()))
    ledger.arrived(position(1), 2, 5)
    after = DeliveryAccounting()
    after.restore(saved)
    after.at(position(2))
    assert after.received == Tally(1, 2, 5)
    assert after.lost == Tally(1, 2, 5)


def test_memory_is_bounded():
    ledger = DeliveryAccounting()
    for number in range(MAX_GATEWAYS + 10):
        ledger.arrived(position(0, f"g{number}"), 2, 5)
    assert len(ledger.state()["expected"]) == MAX_GATEWAYS
