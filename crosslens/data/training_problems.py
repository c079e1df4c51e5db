"""Build the one list of training problems, without repetitions and problems of benchmarks."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from crosslens.config.benchmark_columns import ANSWER_COLUMNS, PROBLEM_COLUMNS
from crosslens.data.grading import extract_answer
from crosslens.data.overlaps import Overlap, ProblemIndex, words, written_form
from crosslens.data.solutions import split_solution
from crosslens.io.errors import InputError
from crosslens.io.progress import track
from crosslens.io.records import is_unicode

COLUMNS = {"problem": PROBLEM_COLUMNS, "answer": ANSWER_COLUMNS, "solution": ("solution",)}
DOUBTFUL = 10  # comparisons that are shown on either side of the line

OVERLAP_COLUMNS = [
    *("verdict", "doubtful", "source", "resembles", "longest_run", "lcs_fraction", "margin"),
    *("problem", "other_problem"),
]

Rows = Iterable[dict[str, Any]]
Counts = dict[str, dict[str, int]]


class Comparison(NamedTuple):
    """A problem of a source, and the problem that it resembles most."""

    verdict: str  # removed, kept or near duplicate (kept, too)
    source: str
    problem: str
    other: Overlap


class ProblemList:
    """The list of problems as it grows, with counts for each source and the overlaps found."""

    def __init__(self, excluded: dict[str, Rows], ngram: int, lcs_fraction: float) -> None:
        """Index the benchmarks. Raises InputError for one without problems."""
        self.problems: list[dict[str, str]] = []
        self.counts: Counts = {}
        self.comparisons: list[Comparison] = []
        self.benchmarks = ProblemIndex(ngram, lcs_fraction)
        self.earlier = ProblemIndex(ngram, lcs_fraction)  # problems of the sources before
        self.by_form: dict[str, dict[str, str]] = {}
        for name, rows in excluded.items():
            add_benchmark(self.benchmarks, name, rows)

    def add_source(self, source: str, rows: Rows) -> None:
        """Add a source's problems, each with problem, answer, source and, if given, solution.

        Rows without a problem or an answer, texts that are not valid Unicode, repetitions, and
        problems of the benchmarks (`ProblemIndex`) are left out. Near duplicates of problems of
        earlier sources are kept and counted.
        """
        count, first = Counter(rows=0), len(self.problems)
        for row in track(rows, f"problems of {source}", unit="rows"):
            answer, solution = answer_and_solution(row)
            problem = {"problem": text_of(row, "problem"), "answer": answer}
            reason = unusable(problem) or self.repetition(problem) or self.overlap(problem, source)
            count.update(["rows", reason or "kept"])
            if not reason:
                own = {"solution": solution} if is_unicode(solution) and solution else {}
                self.problems.append({**problem, "source": source, **own})
                self.by_form[written_form(problem["problem"])] = self.problems[-1]
                count.update(self.near_duplicate(problem["problem"], source))
        self.counts[source] = dict(count)
        for problem in self.problems[first:]:
            self.earlier.add(source, problem["problem"])

    def repetition(self, problem: dict[str, str]) -> str | None:
        """Return the source whose problem this repeats, or None."""
        original = self.by_form.get(written_form(problem["problem"]))
        if original is None:
            return None
        another = "" if original["answer"] == problem["answer"] else "_with_another_answer"
        return f"repeats_{original['source']}{another}"

    def overlap(self, problem: dict[str, str], source: str) -> str | None:
        """Return the benchmark that has the problem, or None."""
        closest = self.benchmarks.closest(problem["problem"])
        if closest is None:
            return None
        verdict = "removed" if closest.margin >= 1 else "kept"
        self.comparisons.append(Comparison(verdict, source, problem["problem"], closest))
        return f"in_{closest.name}" if verdict == "removed" else None

    def near_duplicate(self, text: str, source: str) -> list[str]:
        """Return the label to count if a problem of an earlier source is nearly the same."""
        closest = self.earlier.closest(text)
        if closest is None or closest.margin < 1:
            return []
        self.comparisons.append(Comparison("near duplicate", source, text, closest))
        return [f"kept_though_near_{closest.name}"]


def add_benchmark(index: ProblemIndex, name: str, rows: Rows) -> None:
    """Add a benchmark's problems. Raises InputError if there are none."""
    texts = list(filter(words, (text_of(row, "problem") for row in rows)))
    if not texts:
        raise InputError(
            f"problems.exclude.{name}: no row has text in a column "
            f"{' or '.join(PROBLEM_COLUMNS)}, so nothing would be excluded. Correct the data "
            "set or its files."
        )
    for text in texts:
        index.add(name, text)


def unusable(problem: dict[str, str]) -> str | None:
    """Return why a row cannot be used as a problem; None if it can."""
    if not all(problem.values()):
        return "without_problem_or_answer"
    return None if all(map(is_unicode, problem.values())) else "not_unicode"


def text_of(row: dict[str, Any], column: str) -> str:
    """Return the first of these columns that the row has as text, else empty text."""
    name = next((name for name in COLUMNS[column] if row.get(name) is not None), None)
    return str(row[name]).strip() if name else ""


def answer_and_solution(row: dict[str, Any]) -> tuple[str, str]:
    """Return answer and solution, which may be in one column (`split_solution`).

    If there is no answer column, the answer is in the last box of the solution, as in MATH.
    """
    answer, worked = split_solution(text_of(row, "answer"))
    last, boxed = split_solution(text_of(row, "solution"))
    solution = boxed or last or worked
    return answer or extract_answer(solution) or "", solution


def overlap_table(comparisons: list[Comparison]) -> list[tuple]:
    """Return rows of OVERLAP_COLUMNS, one per problem, for a reader to check.

    These are all removed problems, the most doubtful of the kept ones, and near duplicates of
    earlier sources. `doubtful` marks the ten on either side of the line between removed and kept.
    """
    order = {"removed": 0, "kept": 1, "near duplicate": 2}
    rows = sorted(comparisons, key=lambda c: (order[c.verdict], -c.other.margin, -c.other.share))
    removed, kept, near = ([c for c in rows if c.verdict == verdict] for verdict in order)
    doubtful = [*removed[-DOUBTFUL:], *kept[:DOUBTFUL]]
    return [
        (
            *(c.verdict, any(c is other for other in doubtful), c.source, c.other.name),
            *(c.other.run, round(c.other.share, 3), round(c.other.margin, 3)),
            *(c.problem, c.other.text),
        )
        for c in [*removed, *kept[:DOUBTFUL], *near]
    ]


def count_warning(n_problems: int, expected: list[int], counts: Counts) -> str | None:
    """Return a warning with all counts if the list is not as long as expected, else None.

    Raises InputError if no problem is left.
    """
    least, most = expected
    if least <= n_problems <= most:
        return None
    each = "; ".join(
        f"{source}: {', '.join(f'{n} {what}' for what, n in count.items())}"
        for source, count in counts.items()
    )
    line = (
        f"problems.expected_count: {n_problems} problems are left, but {least} to {most} are "
        f"expected ({each})."
    )
    if not n_problems:
        raise InputError(f"{line} Correct problems.sources.")
    return f"{line} Check problems.sources and their revisions, or correct the range."
