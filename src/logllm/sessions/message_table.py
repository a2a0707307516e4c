"""The message table: every distinct masked message once, its number in order of first appearance."""

import polars as pl


class MessageTable:
    """Distinct texts and their numbers."""

    def __init__(self) -> None:
        self._table = pl.DataFrame(schema={"message": pl.String, "id": pl.UInt32})

    def __len__(self) -> int:
        return self._table.height

    @property
    def messages(self) -> pl.Series:
        """The distinct messages; a message's place is its number."""
        return self._table["message"]

    def numbered(self, records: pl.DataFrame) -> pl.DataFrame:
        """Records (`logllm.logs.records.RECORDS`) with the numbers of their messages in place of these."""
        return records.with_columns(self.push(records["message"]).alias("message"))

    def push(self, messages: pl.Series) -> pl.Series:
        """Numbers (u32) of some messages, new ones entered.

        >>> table = MessageTable()
        >>> table.push(pl.Series(["b", "a", "b"])).to_list(), table.push(pl.Series(["c", "a"])).to_list()
        ([0, 1, 0], [2, 1])
        """
        rows = messages.alias("message").to_frame()
        distinct = rows.unique(maintain_order=True).join(self._table, on="message", how="left", maintain_order="left")
        new = distinct.filter(pl.col("id").is_null()).select("message")
        if new.height:
            new = new.with_columns(id=pl.int_range(len(self), len(self) + new.height, dtype=pl.UInt32))
            self._table = pl.concat([self._table, new])
            distinct = pl.concat([distinct.filter(pl.col("id").is_not_null()), new])
        return rows.join(distinct, on="message", how="left", maintain_order="left")["id"]
