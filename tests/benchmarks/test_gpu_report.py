"""`make gpu` reports failures, missing packages and exceeded limits as what they are.

The sections of most tests are small modules that really fail, miss a package, die or take too long,
in processes of their own.
"""

import json
from pathlib import Path

import pytest

from benchmarks.gpu import __main__ as program
from benchmarks.gpu.__main__ import Section
from benchmarks.gpu.report import FAILED, NOT_RUN, OK, Line, summary

HEAD = "import os, time\nfrom benchmarks.gpu.section import Part, Result, require\n"
PARTS = {
    "good": "[Part('sum', lambda: Result('2', {'sum': 2.0}))]",
    "bad": "[Part('first', lambda: require(False, 'one | two')),"
    " Part('next', lambda: Result('3'))]",
    "lacking": "[Part('a', lambda: Result('1'), packages=('no_such_package',)),"
    " Part('b', lambda: __import__('no_such_other')),"
    " Part('c', lambda: __import__('crosslens.no_such_module')),"
    " Part('d', lambda: Result('1'), cuda=True)]",
    "dying": "[Part('before', lambda: Result('1')), Part('death', lambda: os._exit(7))]",
    "slow": "[Part('before', lambda: Result('1')), Part('endless', lambda: time.sleep(600))]",
}


@pytest.fixture
def sections(tmp_path: Path, monkeypatch) -> dict[str, Section]:
    """Return sections by name, whose modules lie in a folder of their own."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(program, "CPU_FACTOR", 1)
    for name, parts in PARTS.items():
        text = f"{HEAD}\n\ndef parts(machine):\n    return {parts}\n"
        (tmp_path / f"section_{name}.py").write_text(text)
    (tmp_path / "section_unloadable.py").write_text("import no_such_third\n")
    names = [*PARTS, "unloadable"]
    return {name: Section(name, f"section_{name}", 120) for name in names}


def outcomes(section: Section, logs: Path) -> dict[str, tuple[str, str]]:
    """Return outcome and result of each part."""
    lines = program.run(section, "cpu", "small", logs)
    assert {line.section for line in lines} == {section.name}
    return {line.part: (line.outcome, line.result) for line in lines}


def test_a_failing_part_does_not_stop_the_next_one(sections, tmp_path, capsys) -> None:
    found = outcomes(sections["bad"], tmp_path)
    assert found == {"first": (FAILED, "AssertionError: one | two"), "next": (OK, "3")}
    assert "Traceback" in capsys.readouterr().out  # the end of the section's log


def test_missing_packages_and_a_missing_gpu_are_not_run(sections, tmp_path) -> None:
    found = outcomes(sections["lacking"], tmp_path)
    assert found["a"] == (NOT_RUN, "package no_such_package is missing")
    assert found["b"] == (NOT_RUN, "package no_such_other is missing")
    assert found["c"][0] == FAILED  # a module of the library itself is never missing
    assert found["d"] == (NOT_RUN, "needs a GPU")
    found = outcomes(sections["unloadable"], tmp_path)
    assert found == {"all": (NOT_RUN, "package no_such_third is missing")}


def test_what_ended_or_took_too_long_has_failed_and_earlier_parts_remain(
    sections, tmp_path
) -> None:
    found = outcomes(sections["dying"], tmp_path)
    assert found == {"before": (OK, "1"), "death": (FAILED, "the process ended with status 7")}
    found = outcomes(sections["slow"]._replace(limit=2), tmp_path)
    assert list(found.values())[-1] == (FAILED, "over the section's limit of 2 s")


def report(monkeypatch, capsys, sections: list[Section], logs: Path) -> tuple[int, dict]:
    """Return the exit status and the final line of a run, on a machine without a GPU."""
    monkeypatch.setattr(program, "probe", lambda: {"gpu": None, "machine": "- here"})
    status = program.main("", tuple(sections), logs)
    return status, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_exit_status_and_final_line(sections, tmp_path, monkeypatch, capsys) -> None:
    chosen = [sections[name] for name in ("good", "bad", "unloadable")]
    status, line = report(monkeypatch, capsys, chosen, tmp_path)
    assert status == 1 and not line["passed"] and line["parts_passed"] == 2
    assert line["failed"] == {"bad: first": "AssertionError: one | two"}
    assert line["not_run"] == {"unloadable: all": "package no_such_third is missing"}
    assert line["numbers"] == {"good: sum: sum": 2.0}
    assert (line["gpu"], line["size"]) == (None, "small")
    status, line = report(monkeypatch, capsys, [sections["good"]], tmp_path)
    assert status == 0 and line["passed"]


@pytest.mark.parametrize(("name", "passed"), [("reader", 1), ("analysis", 7)])
def test_a_small_section_passes_on_a_cpu(name: str, passed: int, tmp_path: Path) -> None:
    (section,) = program.chosen([name])
    lines = program.run(section, "cpu", "small", tmp_path)
    assert sum(line.outcome == OK for line in lines) == passed
    assert all(line.result == "needs a GPU" for line in lines if line.outcome != OK)


def test_the_full_size_needs_a_gpu(monkeypatch, capsys) -> None:
    monkeypatch.setattr(program, "probe", lambda: {"gpu": None, "machine": "- here"})
    assert program.main("full", ()) == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["error"] == "full needs a GPU"


def test_nothing_run_is_not_passed() -> None:
    assert not summary([Line("a", "b", NOT_RUN, "package c is missing")])["passed"]


def test_all_limits_are_below_ten_minutes() -> None:
    assert sum(section.limit for section in program.SECTIONS) + program.PROBE_LIMIT <= 600
