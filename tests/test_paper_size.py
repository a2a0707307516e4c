"""The benchmark's log is the sample written over: other blocks, the same messages, labels for
all."""

import polars as pl
import zstandard
from benchmarks.paper_size import write_labels, write_over


def test_the_sample_is_written_over_with_fresh_blocks(tmp_path) -> None:
    lines = pl.Series(
        [
            f"081109 203518 143 INFO dfs.DataNode: Served blk_-1608999{block} to /10.0.0.{block}"
            for block in (111, 222, 333)
        ]
    )
    labels = pl.DataFrame(
        {
            "BlockId": [f"blk_-1608999{block}" for block in (111, 222, 333)],
            "Label": ["Normal", "Anomaly", "Normal"],
        }
    )
    write_over(lines, tmp_path / "log.zst", total=8)
    write_labels(labels, tmp_path / "labels.csv", copies=3)
    with zstandard.open(tmp_path / "log.zst", "rt") as file:
        written = pl.Series(file.read().splitlines())
    blocks = written.str.extract(r"(blk_-?\d+)")
    assert (len(written), blocks.n_unique()) == (8, 8)
    assert (
        written.str.replace(r"blk_\S+", "").to_list()
        == [line for line in lines.str.replace(r"blk_\S+", "") for _ in range(3)][:8]
    )
    labelled = pl.read_csv(tmp_path / "labels.csv")
    assert set(blocks) <= set(labelled["BlockId"])
    assert labelled["Label"].to_list() == ["Normal", "Anomaly", "Normal"] * 3


def test_each_copy_of_a_line_may_have_a_time_of_its_own(tmp_path) -> None:
    sample = ["081109 203518", "081109 203518", "081109 203520", "081111 000000"]
    lines = pl.Series(
        [
            f"{stamp} 143 INFO dfs.DataNode: Served blk_-16089{place}11"
            for place, stamp in enumerate(sample)
        ]
    )
    write_over(lines, tmp_path / "log.zst", total=12, fresh_times=True)
    with zstandard.open(tmp_path / "log.zst", "rt") as file:
        written = [line[:13] for line in file.read().splitlines()]
    assert written[:3] == ["081109 203518", "081109 203519", "081109 203520"] == written[3:6]
    assert written[6:9] == ["081109 203524", "081109 203525", "081109 203526"]
    assert written[9:] == ["081113 064924", "081113 064925", "081113 064926"]
