"""A cut knows which streams were named after it, whatever the clock says."""

import gc
import weakref

from serving.log.stream_names import Cut, StreamNames


def test_a_cut_tells_later_names_in_all_that_is_made_of_them():
    names = StreamNames()
    before = names.next()
    first = names.make(Cut())
    between = names.next()
    second = names.make(Cut())
    after = names.next()
    for form in ("{}.arrows", "part-{}.parquet", ".part-{}.parquet.unfinished", "part-{}.ids"):
        files = [form.format(name) for name in (before, between, after)]
        assert [first.is_later(file) for file in files] == [False, True, True]
        assert [second.is_later(file) for file in files] == [False, False, True]
    assert not first.is_later("notes.txt")


def test_until_it_is_made_nothing_is_later():
    names, cut = StreamNames(), Cut()
    assert not cut.made
    name = names.next()
    assert not names.make(cut).is_later(f"{name}.arrows")
    assert cut.made


def test_a_cut_that_nobody_has_any_more_costs_nothing():
    names = StreamNames()
    gone = weakref.ref(names.make(Cut()))
    gc.collect()
    assert gone() is None
    names.next()
