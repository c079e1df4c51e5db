"""The one grader, from any thread, with a timeout that works."""

import threading
import time

import pytest
from lm_eval.tasks.hendrycks_math.utils import is_equiv

from crosslens.data import grading
from crosslens.data.grading import extract_answer, is_correct, user_message
from crosslens.io.errors import InputError


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"so \boxed{12}.", "12"),
        (r"first \boxed{1}, no: \boxed{ 12 } .", "12"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{12", None),
        ("12", None),
        (r"\boxed 12", "12"),
        (r"it is $\boxed 12$.", "12"),
        (r"\boxed {12}", "12"),
        (r"\fbox{12}", "12"),
        (r"\boxedness{12}", None),
    ],
)
def test_the_last_closed_box_is_the_answer(response: str, answer: str | None) -> None:
    assert extract_answer(response) == answer


@pytest.mark.parametrize(
    ("response", "gold", "right"),
    [
        (r"\boxed{12}", "12", True),
        (r"\boxed{12}", "13", False),
        (r"\boxed{0.5}", r"\frac{1}{2}", True),
        (r"\boxed{\frac{2}{4}}", "1/2", True),
        (r"\boxed{x + 1}", "1 + x", True),
        (r"\boxed{}", "0", False),
        ("the answer is 12", "12", False),
    ],
)
def test_equal_values_count_however_they_are_written(response: str, gold: str, right: bool) -> None:
    assert is_correct(response, gold) == right


@pytest.mark.parametrize(
    ("box", "gold", "right", "by_harness"),
    [
        ("x=5", "5", True, True),
        ("3=5", "5", True, True),
        ("3=5", "3", False, False),
        ("2+3=5", "5", True, False),
        ("5", "x=5", True, True),
        ("x=5", "y=6", False, False),
    ],
)
def test_of_an_equation_the_last_side_is_the_answer(
    box: str, gold: str, right: bool, by_harness: bool
) -> None:
    assert is_correct(f"\\boxed{{{box}}}", gold) == right
    assert is_equiv(box, gold) == by_harness, "lm-eval's, which Evalchemy grades by"


def test_it_works_off_the_main_thread() -> None:
    results = []
    thread = threading.Thread(target=lambda: results.append(is_correct(r"\boxed{2/4}", "0.5")))
    thread.start()
    thread.join()
    assert results == [True]


def test_a_comparison_that_hangs_is_wrong_and_the_grader_lives_on(capsys) -> None:
    assert is_correct(r"\boxed{2/4}", "0.5")  # the worker runs
    started = time.monotonic()
    assert not is_correct(r"\boxed{9^{9^{9^{9}}}}", r"7^{7^{7^{7^{7}}}}", timeout=0.5)
    assert time.monotonic() - started < 300  # two starts of a worker, on a busy machine
    assert "counted as wrong" in capsys.readouterr().err
    assert is_correct(r"\boxed{2/4}", "0.5")


def test_a_worker_that_died_is_replaced() -> None:
    assert is_correct(r"\boxed{2/4}", "0.5")
    grading.WORKER.process.kill()
    grading.WORKER.process.join()
    assert is_correct(r"\boxed{2/4}", "0.5")


class Doomed(grading.Worker):
    """Its processes are killed as soon as they have started."""

    def start(self) -> None:
        super().start()
        self.process.kill()
        self.process.join()


def test_an_answer_that_kills_every_worker_is_wrong_and_said(monkeypatch, capsys) -> None:
    """Nothing else is lost: a long training does not end by it."""
    monkeypatch.setattr(grading, "WORKER", Doomed())
    assert not is_correct(r"\boxed{1/2}", "0.5")
    assert "'1/2' against '0.5'" in capsys.readouterr().err
    assert grading.WORKER.process is None


def test_a_worker_that_cannot_start_is_one_line(tmp_path, monkeypatch) -> None:
    (tmp_path / "math_verify.py").write_text("raise ImportError('not installed here')")
    monkeypatch.syspath_prepend(tmp_path)  # the worker's path is this process's
    with pytest.raises(InputError, match=r"does not start.*is math-verify installed\?"):
        grading.Worker().ask("1/2", "0.5", 300)


def test_a_worker_that_starts_slowly_is_waited_for_and_said(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "math_verify.py").write_text("import time; time.sleep(60)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(grading, "START", 2)
    monkeypatch.setattr(grading, "SAY_EVERY", 1)
    with pytest.raises(InputError, match="does not start, not within 2 s"):
        grading.Worker().ask("1/2", "0.5", 300)
    assert capsys.readouterr().err.count("still starting, waiting up to 2 s") == 1


def test_prompt_is_evalchemys() -> None:
    assert user_message("1+1?") == "Problem: 1+1?\nMark your solution with \\boxed\nAnswer:"
