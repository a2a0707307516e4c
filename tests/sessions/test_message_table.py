"""The message table."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from logllm.sessions.message_table import MessageTable


@given(batches=st.lists(st.lists(st.text("ab\0é", max_size=2), max_size=6), max_size=5))
def test_numbers_are_in_order_of_first_appearance(batches):
    table = MessageTable()
    numbers = [table.push(pl.Series(batch, dtype=pl.String)) for batch in batches]
    texts = [text for batch in batches for text in batch]
    assert table.messages.to_list() == list(dict.fromkeys(texts))
    assert [table.messages[number] for batch in numbers for number in batch] == texts
    assert all(batch.dtype == pl.UInt32 for batch in numbers)
    assert len(table.messages) == len(set(texts))
