"""Progress in a log is plain lines."""

from crosslens.io.progress import progress_line, track


def test_items_pass_through_and_the_last_line_counts_them(capsys) -> None:
    assert list(track(range(3), "counting", unit="rows")) == [0, 1, 2]
    assert "counting: 3/3 rows" in capsys.readouterr().err


def test_rate_and_time_left() -> None:
    assert progress_line("x", 10, 40, 5.0, "rows") == "x: 10/40 rows, 2.0 rows/s, 15 s left"
