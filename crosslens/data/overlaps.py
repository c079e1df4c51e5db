"""Find problems that repeat another one, comparing words, not typesetting."""

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

Words = tuple[str, ...]

DRAWING = re.compile(r"\[asy\].*?\[/asy\]", re.DOTALL)
ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*\{[^}]*\}(?:\{[^}]*\}|\[[^\]]*\])*")
COMMAND = re.compile(r"\\(?:[A-Za-z]+|.)", re.DOTALL)
WORD = re.compile(r"[^\W\d_]+|\d+")
LAYOUT = re.compile(r"\\left|\\right|\\[,;:! ]|[\s$]")


class Overlap(NamedTuple):
    """The overlap of a problem with one of another set."""

    name: str  # of the set
    text: str  # of the other problem
    run: int  # words of the longest run that both have
    share: float  # longest common subsequence of words, as a share of the shorter problem
    margin: float  # from 1 on the two count as one problem; infinite for the same text


class ProblemIndex:
    """An index of problems that others are compared with.

    Two problems count as equal if they differ only in typesetting, or if they have `ngram` words in
    a row in common and their longest common subsequence has `lcs_fraction` of the shorter one's
    words (Qwen2.5-Math's criterion, arXiv:2409.12122, section 3: 13 words and 0.6). The condition
    on the subsequence spares problems that have only a stock phrase in common.
    """

    def __init__(self, ngram: int, lcs_fraction: float) -> None:
        self.ngram, self.lcs_fraction = ngram, lcs_fraction
        self.short = max(1, 3 * ngram // 4)  # shorter runs find the pairs just below the line
        self.problems: list[tuple[str, str, Words]] = []
        self.by_form: dict[str, int] = {}
        self.by_run: dict[Words, list[int]] = defaultdict(list)

    def add(self, name: str, text: str) -> None:
        """Add a problem of the set `name`."""
        number, its_words = len(self.problems), words(text)
        self.problems.append((name, text, its_words))
        self.by_form.setdefault(written_form(text), number)
        for run in set(runs(its_words, self.short)):
            self.by_run[run].append(number)

    def closest(self, text: str) -> Overlap | None:
        """Return the overlap with the largest margin.

        None if no problem has at least 3/4 of `ngram` words in a row in common with `text`.
        """
        if (number := self.by_form.get(written_form(text))) is not None:
            name, other, its_words = self.problems[number]
            return Overlap(name, other, len(its_words), 1.0, math.inf)
        its_words = words(text)
        candidates = {n for run in runs(its_words, self.short) for n in self.by_run.get(run, ())}
        overlaps = (self.overlap(its_words, number) for number in sorted(candidates))
        return max(overlaps, key=lambda overlap: overlap.margin, default=None)

    def overlap(self, its_words: Words, number: int) -> Overlap:
        """Return the overlap of a problem with these words with one of the index."""
        name, other, other_words = self.problems[number]
        run = longest_run(its_words, other_words)
        share = lcs_length(its_words, other_words) / min(len(its_words), len(other_words))
        return Overlap(name, other, run, share, min(run / self.ngram, share / self.lcs_fraction))


def words(text: str) -> Words:
    """Return the words and numbers of a problem in lower case.

    Drawings, LaTeX's commands and environments, braces, dollars and punctuation are left out.
    """
    for typesetting in (DRAWING, ENVIRONMENT, COMMAND):
        text = typesetting.sub(" ", text)
    return tuple(WORD.findall(text.lower()))


def written_form(text: str) -> str:
    """Return a problem with its operators and punctuation, but without layout.

    Layout is case, white space, dollar signs, and the size of fractions and brackets.
    """
    plain = LAYOUT.sub("", text.lower())
    return re.sub(r"\\[dt]frac", r"\\frac", plain)


def runs(sequence: Words, length: int) -> list[Words]:
    """Return all runs of `length` words."""
    return [sequence[i : i + length] for i in range(len(sequence) - length + 1)]


def longest_run(first: Words, second: Words) -> int:
    """Return the length of the longest run of words that both sequences contain."""
    return SequenceMatcher(None, first, second, autojunk=False).find_longest_match().size


def lcs_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence.

    Bit i of `open_ends` is zero where a longest subsequence can end at `first[i]` (Hyyrö 2004).
    """
    places: dict[str, int] = defaultdict(int)
    for i, word in enumerate(first):
        places[word] |= 1 << i
    full = open_ends = (1 << len(first)) - 1
    for word in second:
        matches = open_ends & places.get(word, 0)
        open_ends = (open_ends + matches | open_ends - matches) & full
    return len(first) - open_ends.bit_count()
