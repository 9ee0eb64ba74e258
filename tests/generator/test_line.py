"""The waiting line: bounded, in order within a group, groups apart."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.engine.errors import EngineClosed, QueueFull
from generator.engine.items import Item
from generator.engine.line import Ticket, WaitingLine


def ticket(model, *, deterministic=False):
    return Ticket(Item(model, 0, 1, 1.0, deterministic=deterministic))


def models(tickets):
    return [t.item.model for t in tickets]


def anyone(ticket, taken):
    return True


def take(line, most, rooms=None, may_begin=anyone):
    """What can begin now, as names of models by group."""
    return line.take(rooms or {}, most, may_begin)[1]


@settings(max_examples=50, deadline=None, database=None)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=20), st.integers(1, 6))
def test_every_ticket_is_taken_once_in_order_with_its_own_group(names, room):
    line = WaitingLine(100, 0.0)
    line.put([ticket(name) for name in names])
    taken = []
    while len(line):
        groups = take(line, room)
        assert all(1 <= len(batch) <= room for batch in groups.values())
        for group, batch in groups.items():
            assert {t.group for t in batch} == {group}
            taken += batch
    assert sorted(models(taken)) == sorted(names)
    for name in set(names):
        arrivals = [t.arrived for t in taken if t.item.model == name]
        assert arrivals == sorted(arrivals)


def test_a_group_that_is_under_way_is_joined_whoever_else_waits():
    line = WaitingLine(10, 0.0)
    first, second, third = ticket("a"), ticket("a"), ticket("a")
    line.put([first, ticket("b"), second, third])
    taken = take(line, 5, {first.group: 2})
    assert {group: models(found) for group, found in taken.items()} == {
        first.group: ["a", "a"],
        ticket("b").group: ["b"],
    }
    assert take(line, 5, {first.group: 0}) == {}
    assert take(line, 5, {first.group: 1}) == {first.group: [third]}


def test_a_group_that_may_not_begin_waits_and_is_asked_about_once():
    line = WaitingLine(10, 0.0)
    line.put([ticket("a"), ticket("b"), ticket("b")])
    asked = []

    def only_a(ticket, taken):
        asked.append(ticket.item.model)
        return ticket.item.model == "a"

    assert [models(found) for found in take(line, 5, may_begin=only_a).values()] == [["a"]]
    assert asked == ["a", "b"]
    assert [models(found) for found in take(line, 5).values()] == [["b", "b"]]


def test_deterministic_items_are_a_group_of_their_own():
    line = WaitingLine(10, 0.0)
    line.put([ticket("a"), ticket("a", deterministic=True)])
    assert [len(found) for found in take(line, 5).values()] == [1, 1]


def test_a_first_ticket_waits_for_company():
    line = WaitingLine(10, 5.0)
    line.put([ticket("a")])
    threading.Timer(0.05, lambda: line.put([ticket("a")])).start()
    assert [len(found) for found in take(line, 2).values()] == [2]


def test_cancelled_tickets_leave_the_line():
    line = WaitingLine(2, 0.0)
    first, second = ticket("a"), ticket("a")
    line.put([first, second])
    with pytest.raises(QueueFull):
        line.put([ticket("a")])
    first.future.cancel()
    line.put([ticket("b")])
    assert take(line, 5)[second.group] == [second]


def test_a_closed_line_gives_back_what_waits_and_refuses_more():
    line = WaitingLine(5, 0.0)
    waiting = ticket("a")
    line.put([waiting])
    assert line.close() == [waiting]
    with pytest.raises(EngineClosed):
        line.put([ticket("a")])
    with pytest.raises(EngineClosed):
        line.put_job(lambda: None)
