"""The waiting line: fair between groups, full calls within one."""

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


@settings(max_examples=50, deadline=None, database=None)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=20), st.integers(1, 6))
def test_every_ticket_is_taken_once_in_order_with_its_own_group(names, room):
    line = WaitingLine(100, 0.0)
    line.put([ticket(name) for name in names])
    taken = []
    while len(line):
        _, batch = line.take(None, room)
        assert 1 <= len(batch) <= room
        assert len(set(models(batch))) == 1
        taken += batch
    assert sorted(models(taken)) == sorted(names)
    for name in set(names):
        arrivals = [t.arrived for t in taken if t.item.model == name]
        assert arrivals == sorted(arrivals)


def test_a_running_group_is_joined_only_while_no_other_waits():
    line = WaitingLine(10, 0.0)
    first, second = ticket("a"), ticket("a")
    line.put([first, second])
    assert line.take(first.group, 1)[1] == [first]
    line.put([ticket("b")])
    assert line.take(first.group, 5)[1] == []
    assert models(line.take(None, 5)[1]) == ["a"]
    assert models(line.take(None, 5)[1]) == ["b"]


def test_deterministic_items_are_a_group_of_their_own():
    line = WaitingLine(10, 0.0)
    line.put([ticket("a"), ticket("a", deterministic=True)])
    assert len(line.take(None, 5)[1]) == 1


def test_a_first_ticket_waits_for_company():
    line = WaitingLine(10, 5.0)
    line.put([ticket("a")])
    threading.Timer(0.05, lambda: line.put([ticket("a")])).start()
    assert len(line.take(None, 2)[1]) == 2


def test_cancelled_tickets_leave_the_line():
    line = WaitingLine(2, 0.0)
    first, second = ticket("a"), ticket("a")
    line.put([first, second])
    with pytest.raises(QueueFull):
        line.put([ticket("a")])
    first.future.cancel()
    line.put([ticket("b")])
    assert line.take(None, 5)[1] == [second]


def test_a_closed_line_gives_back_what_waits_and_refuses_more():
    line = WaitingLine(5, 0.0)
    waiting = ticket("a")
    line.put([waiting])
    assert line.close() == [waiting]
    with pytest.raises(EngineClosed):
        line.put([ticket("a")])
    with pytest.raises(EngineClosed):
        line.put_job(lambda: None)
