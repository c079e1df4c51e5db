"""Each invalid input is reported by the message in docs/bad-input.md."""

import pytest
from bad_inputs import CASES, DOCS, HEAD, Case, row, run_all

ROWS = DOCS.read_text().removeprefix(HEAD).splitlines()


def test_the_table_has_every_case_once() -> None:
    assert DOCS.read_text().startswith(HEAD)
    assert len(ROWS) == len(CASES) == len({case.what for case in CASES}) >= 40


@pytest.mark.parametrize(
    ("case", "documented"), list(zip(CASES, ROWS, strict=False)), ids=lambda x: ""
)
def test_what_is_said_is_what_the_table_says(case: Case, documented: str) -> None:
    assert row(case, *next(run_all([case]))) == documented
