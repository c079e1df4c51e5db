"""The grader against other projects' test suites and against real problems.

usage: python -m benchmarks.grading suites FOLDER
       python -m benchmarks.grading problems FILE ...

FOLDER holds checkouts of Math-Verify, lighteval, NeMo-Skills, inspect_ai, MARIO_EVAL and
Qwen2.5-Math, by these names. FILE is JSON lines with problem and answer. math-verify is measured
next to ours where it is installed. docs/grader-accuracy.md has the results.
"""

import ast
import json
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from crosslens.data.grading import extract_answer, is_correct

FORMULA = re.compile(
    r"\$\$(.+?)\$\$|(?<!\\)\$(.+?)(?<!\\)\$|\\\[(.+?)\\\]|\\\((.+?)\\\)", re.DOTALL
)
WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
MOST_WORDS = 3  # outside \text; a response of more is prose, which no box would hold


class Case(NamedTuple):
    """A response, its gold answer, and whether the suite calls it right."""

    response: str
    gold: str
    right: bool


# Suites


def parameters(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a test file's parametrized cases: the test's name, and values by parameter."""
    for test in ast.walk(ast.parse(path.read_text())):
        for call in getattr(test, "decorator_list", []):
            if getattr(getattr(call, "func", None), "attr", "") != "parametrize":
                continue
            names = [name.strip() for name in ast.literal_eval(call.args[0]).split(",")]
            for row in getattr(call.args[1], "elts", []):
                if values := literal(row):
                    values = values if len(names) > 1 else [values]
                    yield test.name, dict(zip(names, values, strict=True))


def literal(node: ast.AST) -> Any:
    """Return the value of a literal, or None for anything else."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def pairs(folder: Path, pattern: str) -> Iterator[Case]:
    """Yield the cases of tests with a gold answer and a prediction, choices of letters apart."""
    for path in sorted(folder.glob(pattern)):
        for name, case in parameters(path):
            verdict = case.get("expected", case.get("result"))
            strict = case.get("strict", True) and "language" not in case and "abc" not in name
            if {"gold", "pred"} <= set(case) and verdict is not None and strict:
                yield Case(case["pred"], case["gold"], bool(verdict))


def both_ways(cases: list[tuple[Any, Any]], right: bool) -> Iterator[Case]:
    """Yield each pair twice, either side as the gold answer."""
    for one, other in cases:
        if None not in (one, other):
            yield Case(str(one), str(other), right)
            yield Case(str(other), str(one), right)


def nemo_skills(folder: Path) -> Iterator[Case]:
    """Yield the pairs of NeMo-Skills."""
    for name, case in parameters(folder / "tests/test_math_equal.py"):
        yield from both_ways([case["output_pair"]], name == "test_correct_examples")


def inspect_ai(folder: Path) -> Iterator[Case]:
    """Yield the compatibility cases of inspect_ai's scorer."""
    for case in json.loads((folder / "tests/scorer/math_cases.json").read_text()):
        yield Case(case["output"], case["target"], case["expected"] == "C")


def mario(folder: Path) -> Iterator[Case]:
    """Yield the cases of MARIO_EVAL's unit tests."""
    tree = ast.parse((folder / "math_evaluation/tests/test_is_equiv.py").read_text())
    tests = [node for node in ast.walk(tree) if getattr(node, "name", "").startswith("test_")]
    for test in tests:
        values: dict[str, Any] = {}
        for line in test.body:
            right = "assertTrue" in ast.unparse(line)
            if isinstance(line, ast.Assign):
                values[line.targets[0].id] = ast.literal_eval(line.value)
            elif isinstance(line, ast.For):
                yield from both_ways(values["test_pairs"], right)
            elif "self.assert" in ast.unparse(line):
                yield Case(values["test_out"], values["test_in"], right)


def qwen(folder: Path) -> Iterator[Case]:
    """Yield 800 real responses to 100 problems of MATH, by Qwen2.5-Math's own verdicts."""
    path = folder / "evaluation/data/eval_rm_maj_example/math_cot_100.jsonl"
    for row in map(json.loads, path.read_text().splitlines()):
        for response, right in zip(row["code"], row["score"], strict=True):
            yield Case(response, row["gt"], bool(right))


SUITES: dict[str, Callable[[Path], Iterator[Case]]] = {
    "Math-Verify": lambda folder: pairs(folder, "tests/*.py"),
    "lighteval": lambda folder: pairs(folder, "tests/unit/metrics/test_extractive_match.py"),
    "NeMo-Skills": nemo_skills,
    "inspect_ai": inspect_ai,
    "MARIO_EVAL": mario,
    "Qwen2.5-Math": qwen,
}


def boxed(response: str) -> str | None:
    """Return a response with its answer in a box, or None for prose without one."""
    if "\\boxed" in response:
        return response
    return None if is_prose(response) else f"\\boxed{{{response}}}"


def bare(gold: str) -> str | None:
    """Return a gold answer without box and dollar signs, or None for prose without a box."""
    if "\\boxed" in gold:
        return extract_answer(gold.replace("\\\\", "\\"))
    whole = FORMULA.fullmatch(gold.strip())
    return None if is_prose(gold) else next(filter(None, whole.groups())) if whole else gold


def is_prose(text: str) -> bool:
    r"""Return whether a text has words, other than those of `\text`."""
    return len(WORD.findall(re.sub(r"\\[a-z]+\s*\{[^{}]*\}", "", text))) > MOST_WORDS


# Graders


def by_math_verify(response: str, gold: str) -> bool:
    """Grade the last box by math-verify, 5 s a step."""
    from math_verify import parse, verify

    answer = extract_answer(response)
    return answer is not None and bool(verify(parse(f"${gold}$"), parse(f"${answer}$")))


def by_harness(response: str, gold: str) -> bool:
    """Grade the last box by lm-eval's comparison of texts."""
    from lm_eval.tasks.hendrycks_math.utils import is_equiv

    answer = extract_answer(response)
    return answer is not None and is_equiv(answer, gold)


GRADERS = {"crosslens": is_correct, "lm-eval": by_harness, "math-verify": by_math_verify}


def suites(folder: Path) -> None:
    """Print, for each suite and grader, agreement and both kinds of error."""
    print("| suite | left out | tried | grader | agree | wrong, accepted | right, refused |")
    for name, cases in SUITES.items():
        found = list(cases(folder / name))
        adapted = [Case(boxed(case.response), bare(case.gold), case.right) for case in found]
        tried = [case for case in adapted if case.response and case.gold]
        for grader, grade in GRADERS.items():
            verdicts = [grade(case.response, case.gold) for case in tried]
            wrong = sum(v and not c.right for v, c in zip(verdicts, tried, strict=True))
            right = sum(c.right and not v for v, c in zip(verdicts, tried, strict=True))
            left, agree = len(found) - len(tried), len(tried) - wrong - right
            print(f"| {name} | {left} | {len(tried)} | {grader} | {agree} | {wrong} | {right} |")


# Problems

DRESSES: dict[str, Callable[[str], str]] = {
    "dollar signs": lambda gold: f"${gold}$",
    "display brackets": lambda gold: rf"\[{gold}\]",
    "bold": lambda gold: f"**{gold}**",
    "colour": lambda gold: rf"\textcolor{{red}}{{{gold}}}",
    "full stop": lambda gold: gold.rstrip(".") + ".",
    "newlines": lambda gold: "\n" + gold.replace("\\\\", "\\\\\n") + "\n",
    r"\dfrac": lambda gold: re.sub(r"\\[dt]?frac", r"\\dfrac", gold),
    "slash": lambda gold: re.sub(r"^(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}$", r"\1\2/\3", gold),
    r"\left \right": lambda gold: re.sub(r"^\((.*)\)$", r"\\left(\1\\right)", gold),
    "commas": lambda gold: f"{int(gold):,}" if re.fullmatch(r"\d{4,}", gold) else gold,
    "x =": lambda gold: f"x = {gold}" if re.fullmatch(r"-?[\d.]+", gold) else gold,
    "unit added": lambda gold: rf"{gold}\text{{ cm}}" if re.fullmatch(r"\d+", gold) else gold,
    "order": lambda gold: (
        ", ".join(gold.split(",")[::-1]) if re.fullmatch(r"-?\w+(, -?\w+)+", gold) else gold
    ),
}


def problems(files: list[Path]) -> None:
    """Print how gold answers fare against themselves, dressed anew, another's, and the question."""
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    rows = [{name.lower(): value for name, value in row.items()} for row in rows]
    known = [(row["problem"], str(row["answer"])) for row in rows if row["answer"]]
    golds = [gold for _, gold in known]
    started, calls = time.process_time(), 0
    print(f"{len(golds)} gold answers")
    refused = [gold for gold in golds if not is_correct(f"\\boxed{{ {gold} }}", gold)]
    print(f"refused against themselves: {len(refused)} {refused[:5]}")
    for name, dress in DRESSES.items():
        dressed = [(dress(gold), gold) for gold in golds if dress(gold) != gold]
        refused = [pair for pair in dressed if not is_correct(f"\\boxed{{{pair[0]}}}", pair[1])]
        calls += len(dressed)
        print(f"refused with {name}: {len(refused)} of {len(dressed)} {refused[:5]}")
    rng = random.Random(0)
    others = [(rng.choice(golds), gold) for gold, _ in product(golds, range(2))]
    accepted = [(a, g) for a, g in others if a != g and is_correct(f"\\boxed{{{a}}}", g)]
    calls += len(others)
    print(f"accepted against another's: {len(accepted)} of {len(others)} {accepted}")
    formulas = [(f, gold) for text, gold in known for f in formulas_of(text) if f != gold]
    back = [(f, gold) for f, gold in formulas if is_correct(f"\\boxed{{{f}}}", gold)]
    calls += len(formulas)
    print(f"formulas of the question accepted: {len(back)} of {len(formulas)}")
    print(*(f"    {formula!r} for {gold!r}" for formula, gold in back), sep="\n")
    spent = time.process_time() - started
    print(f"{1000 * spent / calls:.3f} ms of CPU time a call")


def formulas_of(problem: str) -> list[str]:
    """Return the formulas of a problem's text, drawings left out."""
    text = re.sub(r"\[asy\].*?\[/asy\]", "", problem, flags=re.DOTALL)
    found = (next(part for part in match.groups() if part) for match in FORMULA.finditer(text))
    return [formula.strip().rstrip(".,?") for formula in found]


if __name__ == "__main__":
    what, *paths = sys.argv[1:]
    if what == "suites":
        suites(Path(paths[0]))
    else:
        problems([Path(path) for path in paths])
