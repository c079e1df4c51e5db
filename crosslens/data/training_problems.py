"""The one list of training problems: gathered, without repetitions and benchmark problems."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from crosslens.data.grading import extract_answer
from crosslens.io.errors import InputError

COLUMNS = {"problem": ("problem", "Problem"), "answer": ("answer", "Answer")}


class Selection(NamedTuple):
    """The list, and how many problems of each source went where."""

    problems: list[dict[str, str]]
    counts: dict[str, dict[str, int]]


def select(
    sources: dict[str, Iterable[dict[str, Any]]],
    excluded: dict[str, Iterable[dict[str, Any]]],
    ngram: int,
) -> Selection:
    """Problems of all sources, in their order, each with problem, answer and source.

    Dropped are those without a problem or an answer, those whose words another one had before, and
    those that share their words, or `ngram` words in a row, with a benchmark's.
    """
    known: dict[tuple[str, ...], str] = {}
    benchmark = Benchmark(excluded, ngram)
    problems, counts = [], {name: Counter(rows=0) for name in sources}
    for name, rows in sources.items():
        for row in rows:
            text, answer = text_of(row, "problem"), answer_of(row)
            told = words(text)
            fate = (
                "without_problem_or_answer"
                if not told or not answer
                else ("repeated" if known[told] == answer else "repeated_with_another_answer")
                if told in known
                else f"in_{hit}"
                if (hit := benchmark.holding(told))
                else "kept"
            )
            counts[name].update(rows=1, **{fate: 1})
            if fate == "kept":
                known[told] = answer
                problems.append({"problem": text, "answer": answer, "source": name})
    return Selection(problems, {name: dict(count) for name, count in counts.items()})


class Benchmark:
    """The problems that may not be trained on, by their words."""

    def __init__(self, sets: dict[str, Iterable[dict[str, Any]]], ngram: int) -> None:
        self.ngram = ngram
        self.wholes: dict[tuple[str, ...], str] = {}
        self.parts: dict[tuple[str, ...], str] = {}
        for name, rows in sets.items():
            for row in rows:
                told = words(text_of(row, "problem"))
                self.wholes[told] = name
                self.parts.update(dict.fromkeys(self.runs(told), name))

    def holding(self, told: tuple[str, ...]) -> str | None:
        """The benchmark that has such a problem, if one has."""
        hit = next((run for run in self.runs(told) if run in self.parts), None)
        return self.wholes.get(told) or self.parts.get(hit)

    def runs(self, told: tuple[str, ...]) -> list[tuple[str, ...]]:
        """Every `ngram` words in a row."""
        return [told[i : i + self.ngram] for i in range(len(told) - self.ngram + 1)]


def words(text: str) -> tuple[str, ...]:
    """Words, numbers and signs of a problem, whatever its case, its spaces and its dollar signs."""
    return tuple(re.findall(r"[a-z]+|\d+|[^\sa-z\d$]", text.lower().replace("\\left", "")))


def text_of(row: dict[str, Any], column: str) -> str:
    """A column under the name that one of the data sets gives it; empty where there is none."""
    name = next((name for name in COLUMNS[column] if row.get(name) is not None), None)
    return str(row[name]).strip() if name else ""


def answer_of(row: dict[str, Any]) -> str:
    """The answer, or else the last box of the solution, as in MATH."""
    return text_of(row, "answer") or extract_answer(str(row.get("solution") or "")) or ""


def check_count(found: int, promised: list[int], counts: dict[str, dict[str, int]]) -> None:
    """Raise InputError when the list is not as long as the configuration promises."""
    least, most = promised
    if not least <= found <= most:
        told = "; ".join(
            f"{source}: {', '.join(f'{n} {fate}' for fate, n in count.items())}"
            for source, count in counts.items()
        )
        raise InputError(
            f"problems.count: {found} problems are left, and the configuration promises {least} "
            f"to {most} ({told}): check problems.sources and their revisions, or correct the count"
        )
