r"""The one grader, by kinds: what is rewarded, what is refused, and that nothing hangs it."""

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from lm_eval.tasks.hendrycks_math.utils import is_equiv

from crosslens.data import grading
from crosslens.data.grading import extract_answer, is_correct, user_message

ROOT = Path(__file__).resolve().parents[2]


def cases(table: str) -> list[tuple[str, str]]:
    """Pairs of gold answer and answer, one a line, with two spaces or more between them."""
    lines = [line.strip() for line in table.strip().splitlines()]
    return [tuple(part.strip() for part in line.split("  ", 1)) for line in lines]


# Which box counts


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"so \boxed{12}.", "12"),
        (r"first \boxed{1}, no: \boxed{ 12 } .", "12"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{[0,1\}}", r"[0,1\}"),
        (r"\boxed{12", None),
        (r"\boxed{12} and \boxed{13", None),
        (r"\boxed{12 and \boxed{13}", "13"),
        ("12", None),
        (r"\boxed 12", "12"),
        (r"it is $\boxed 12$.", "12"),
        (r"\boxed {12}", "12"),
        (r"\fbox{12}", "12"),
        (r"\boxedness{12}", None),
        (r"\boxed{\boxed{12}}", "12"),
        (r"\boxed{5 \boxed{6}}", r"5 \boxed{6}"),
        (r"<think>\boxed{5}</think> It is 6.", None),
        (r"<think>\boxed{5}</think> \boxed{6}", "6"),
        (r"hm, 5</think> \boxed{6}", "6"),
        (r"<think> so \boxed{5}", None),
        (r"\boxed{5} <think> or not", None),
    ],
)
def test_the_last_closed_outer_box_after_thinking_is_the_answer(
    response: str, answer: str | None
) -> None:
    assert extract_answer(response) == answer


def test_a_response_without_an_answer_is_wrong() -> None:
    assert not is_correct("the answer is 12", "12")
    assert not is_correct(r"\boxed{}", "0")
    assert not is_correct(r"\boxed{}", "")


# What is refused: gold answer, answer

HANDED_BACK = r"""
5050                        \sum_{k=1}^{100} k
42                          \sqrt{1764}
-2                          \det \begin{pmatrix}1&2\\3&4\end{pmatrix}
8                           5+3*2-3
5                           \frac{10}{2}
5                           5/1
5                           5+0
5                           5 \cdot 1
5                           --5
5                           \left|-5\right|
1024                        2^{10}
\frac{3}{4}                 \frac{42}{56}
\frac{3}{4}                 \frac{1}{2}+\frac{1}{4}
\frac{1}{2}                 \sin 30^\circ
\frac{1}{2}                 \cos \frac{\pi}{3}
\frac{\pi}{3}               \arccos\frac{1}{2}
3                           \log_2 8
10                          \binom{5}{2}
120                         5!
6                           \gcd(12,18)
-1                          i^2
-1                          e^{i\pi}
i                           \sqrt{-1}
2i                          (1+i)^2
-2                          (3-2i)-(5-2i)
8\sqrt{2}                   \sqrt{50}+\sqrt{18}
6\sqrt{5}                   \sqrt{180}
2                           \sqrt{2}\sqrt{2}
\frac{\sqrt{2}}{2}          \frac{1}{\sqrt{2}}
\frac{1}{3}                 0.\overline{3}
2\cdot3\cdot5\cdot7         210
x^2+5x+6                    (x+2)(x+3)
(x+2)(x+3)                  x^2+5x+6
(x-1)(x+1)(x^2+1)           (x^2-1)(x^2+1)
15(3x+2)                    45x+30
24x^2-6x+3                  3(8x^2-2x+1)
2x+1                        (x+1)^2 - x^2
\frac{8-7x}{6}              \frac{x+1}{3}+\frac{2-3x}{2}
3x                          x+x+x
2x^5                        \frac{4}{3x^{-3}} \cdot \frac{3x^{2}}{2}
x^6                         (x^2)^3
x+1                         \frac{x^2-1}{x-1}
\frac{x+2}{x+3}             \frac{x^2+x-2}{x^2+2x-3}
30p\sqrt{p}                 \sqrt{30p} \cdot \sqrt{5p} \cdot \sqrt{6p}
\sin^2 x                    1 - \cos^2 x
y=2x+3                      y-5=2(x-1)
(x-1)^2+y^2=9               x^2-2x+y^2-8=0
0                           x-x
0                           1-1
x                           1x
"""

SEVERAL_ANSWERS = r"""
5                           5|6
5                           6\to 5
5                           5 \approx 6
5                           6 \equiv 5
5                           6$, final answer is $5$
5                           5 \text{ or } 6
5                           5, 6
5                           5 6
5                           \pm 5
5                           x=6=5
5                           3=5
3                           3=5
5                           6\boxed{5}
1,2                         1,2,2
1,2,2                       1,2
\{1,2\}                     \{1,2,3\}
"""

MEANING_CHANGED = r"""
5                           5 \text{ million}
5                           5 \text{ dozen}
5                           5 \text{ pairs}
5                           5 \text{ squared}
5                           5 \text{ per person}
5                           \text{not}=5
5                           6 \in \{5\}
5                           5 \text{ is wrong}
5                           \text{not } 5
5                           \neg 5
5                           \le 5
5                           \neq 5
5                           5?
5                           5...
5                           5'
5                           5_6
5                           -5
5                           5\%6
5                           5\color{white}{6}
5                           6\hphantom{=5}
52_8                        52
52_8                        52_9
15\text{ cm}^2              15\text{ m}^2
12\text{ inches}            12\text{ feet}
\$5                         5 \text{ cents}
0.25                        0.25\%
25\%                        2500\%
(0,1)                       (0,1\%)
7                           3+4\mathrm{i}
1                           1 + \frac{1}{\mathrm{e}}
\text{odd}                  \text{not odd}
\text{Evelyn}               \text{Eleynv}
east                        seat
\text{(A)}                  \text{A or B}
C                           c
x_1                         x_2
f(x)                        f(y)
3:2                         6:4
12:00                       1:00
k=15                        k\%=15
"""

NEAR = r"""
0.00000012                  0.00000049
e^{-50}                     e^{-60}
\frac{1}{2004!}             \frac{1}{2006!}
2^{2025}                    3^{2025}
10^{100}+1                  10^{100}
5                           5.0000001
5                           4.\overline{9}
\frac{1}{3}                 0.333
\frac{2}{3}                 0.666666
\pi                         3.1415
\pi                         \frac{355}{113}
\pi                         \pi+10^{-100}
\pi                         \pi+e^{-300}
1                           1+10^{-100}
0                           10^{-100}
4                           4\sqrt{2}
"""

STRUCTURE = r"""
(1,2)                       \{1,2\}
(1,2)                       1,2
1,2                         (1,2)
(1,2)                       (2,1)
[1,2]                       (1,2)
(1,2]                       [1,2)
x>3                         x \ge 3
x>3                         x<3
(3,\infty)                  x<3
\infty                      -\infty
x=5                         y=5
x=1,y=2                     x=2,y=1
1,2                         x=2,y=1
x^2+y^2=1                   1
a+3z=0                      0
7=11a+c                     11a+c
f(2) < f(1) < f(4)          f(1) < f(2) < f(4)
\begin{pmatrix}1\\2\end{pmatrix}      \begin{pmatrix}2\\1\end{pmatrix}
\begin{pmatrix}1\\2\end{pmatrix}      \begin{pmatrix}1&2\end{pmatrix}
\begin{pmatrix}1&2\end{pmatrix}       \begin{pmatrix}1 2\end{pmatrix}
\begin{pmatrix}3\end{pmatrix}         \begin{pmatrix}1\end{pmatrix}+\begin{pmatrix}2\end{pmatrix}
"""

REFUSED = {
    "handed back": HANDED_BACK,
    "several answers": SEVERAL_ANSWERS,
    "meaning changed": MEANING_CHANGED,
    "near": NEAR,
    "structure": STRUCTURE,
}


@pytest.mark.parametrize("kind", REFUSED)
def test_wrong_answers_are_refused(kind: str) -> None:
    rewarded = [(g, a) for g, a in cases(REFUSED[kind]) if is_correct(f"\\boxed{{{a}}}", g)]
    assert rewarded == []


@pytest.mark.parametrize("sign", ["\u202e6", "\u200b", "\u2066", "\x00", "\ue000"])
def test_control_and_bidirectional_characters_are_refused(sign: str) -> None:
    assert not is_correct(f"\\boxed{{5{sign}}}", "5")


# What is accepted: gold answer, answer

DRESSED = r"""
\frac{14}{3}                \frac{14}{3}.
\frac{1}{2}                 \dfrac12
\frac{1}{2}                 $1/2$
\frac{1}{2}                 \left(\tfrac{1}{2}\right)
1000000                     1\,000\,000
1000000                     1,000,000
1000000                     1 000 000
1000000                     1{,}000{,}000
10,\!000                    10000
3+4i                        3+4\mathrm{i}
15                          \underline{15}
5                           \color{red}5
5                           \textcolor{red}{5}
73                          **73**
5                           \phantom{6}5
\frac{\pi}{2}               pi/2
-2\pi                       -2*pi
2\sqrt{3}                   2*sqrt(3)
2^{10}                      2^10
x^2                         x²
-1                          −1
033                         33
\text{Evelyn}               Evelyn
\text{yes}                  yes
\text{odd}                  odd
\text{(A)}                  \textbf{(A)}
\text{(A)}                  A
\text{C,E}                  E, C
52_8                        52_{8}
3:2                         3 : 2
4\!:\!51 \text{ p.m.}       4:51 \text{ PM}
"""

NUMBERS = r"""
\frac{1}{2}                 0.5
0.5                         \frac{1}{2}
\frac{5}{4}                 1 1/4
\frac{5}{4}                 1\frac{1}{4}
1500                        1.5 \times 10^3
\frac{1}{3}                 0.333333
\sqrt{17}                   4.12310562561766
\frac{1}{3}                 \frac{1}{3} \approx 0.333
\frac{1+\sqrt5}{2}          \frac{1}{2}+\frac{\sqrt{5}}{2}
6+3\sqrt{3}                 3(2+\sqrt{3})
\sqrt[3]{5}                 5^{1/3}
1/2004!                     \frac{1}{2004!}
\binom{2026}{1013}          \binom{2026}{1013}
\frac{2}{4}                 \frac{1}{2}
2^{10}                      1024
"""

UNITS = r"""
12                          12 people
5                           5\text{ cm}
15\text{ cm}^2              15
15\text{ cm}^2              15\text{ square centimeters}
15\mbox{ cm}^2              15 cm^2
\$18.90                     18.9 \text{ dollars}
18.90                       \$18.90
25\%                        25
25                          25\%
25\%                        0.25
0.335                       33.5\%
75^\circ                    75
75                          75^\circ
75^\circ                    75 \text{ degrees}
74^\circ                    \angle APC = 74^\circ
"""

EXPRESSIONS = r"""
x+1                         1+x
\frac{x+2}{7}               \frac{x}{7}+\frac{2}{7}
\frac{x}{2}                 \frac12x
(x+1)(x+2)                  (x+2)(x+1)
(x+1)^2                     (x+1)(x+1)
e^{-x}                      \frac{1}{e^x}
2 \sin b \cos a             2\cos a\sin b
\frac{\ln 3}{\ln 2}         \frac{\ln(3)}{\ln(2)}
2x+3                        f(x) = 2x+3
f(x)=2x+3                   y=2x+3
y=2x+3                      2x - y + 3 = 0
34x+45y-20z+100=0           -34x-45y+20z-100=0
5                           x=5.
22                          m+n = 22
5                           2+3=5
\frac47                     \sin B = \frac{4}{7}
"""

LISTS = r"""
1,2                         2,1
1,2                         \{1,2\}
\{1,2\}                     1,2
1,2                         1 \text{ and } 2
1,2                         x = 1, 2
1,2                         x=1 \text{ or } x=2
\pm 2                       -2, 2
1+\sqrt{2}, 1-\sqrt2        1 \pm \sqrt{2}
4,5                         AB=4, CD=5
(3,4)                       (x,y) = (3,4)
(1,4.5)                     (1,\frac{9}{2})
(0,12.5)                    0 < x < 12.5
(-\infty, 3]                x \le 3
(-\infty, 3]                x \in (-\infty, 3]
x \le 3                     3 \geq x
x<1                         -x > -1
(-\infty,-8)\cup(8,\infty)  (8,\infty) \cup (-\infty,-8)
(-\infty,\infty)            \mathbb{R}
\begin{pmatrix}1\\2\end{pmatrix}      \left[\begin{array}{c}1\\2\end{array}\right]
"""

ACCEPTED = {
    "dressed": DRESSED,
    "numbers": NUMBERS,
    "units": UNITS,
    "expressions": EXPRESSIONS,
    "lists": LISTS,
}


@pytest.mark.parametrize("kind", ACCEPTED)
def test_right_answers_are_accepted(kind: str) -> None:
    refused = [(g, a) for g, a in cases(ACCEPTED[kind]) if not is_correct(f"\\boxed{{{a}}}", g)]
    assert refused == []


def test_newlines_are_spaces() -> None:
    matrix = r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"
    assert is_correct("\\boxed{\n\\begin{pmatrix}\n1 \\\\\n2\n\\end{pmatrix}\n}", matrix)
    assert is_correct(f"\\boxed{{{matrix}}}", matrix.replace(" ", "\n"))


def test_every_accepted_answer_is_its_own_gold_answer() -> None:
    for table in ACCEPTED.values():
        for gold, answer in cases(table):
            assert is_correct(f"\\boxed{{ {answer} }}", answer), answer
            assert is_correct(f"\\boxed{{${gold}$.}}", gold), gold


@pytest.mark.parametrize(
    ("box", "gold", "right", "by_harness"),
    [
        ("x=5", "5", True, True),
        ("3=5", "5", False, True),
        ("2+3=5", "5", True, False),
        ("5", "x=5", True, True),
        (r"\frac{2}{4}", r"\frac{1}{2}", False, False),
        ("0.5", r"\frac{1}{2}", True, True),
        ("2,1", "1,2", True, False),
    ],
)
def test_next_to_the_harness(box: str, gold: str, right: bool, by_harness: bool) -> None:
    assert is_correct(f"\\boxed{{{box}}}", gold) == right
    assert is_equiv(box, gold) == by_harness


# Nothing hangs, raises or depends on who asks

HOSTILE = [
    "9^{9^{9^{9}}}",
    "(10^{9})!",
    r"\binom{10^{9}}{5}",
    r"\sqrt[10^{9}]{2}",
    r"2^{\frac{1}{2^{1000}}}",
    r"\frac{\pi}{a^{123456789}}",
    r"\sin(10^{10^{6}})",
    r"\lfloor \pi \cdot 2^{99999} \rfloor",
    r"\frac{1}{2^{99999}+1}+" * 45 + "1",
    r"\sqrt" * 190 + "2",
    "(" * 400 + "5" + ")" * 400,
    "1" * 900,
    "+".join("x" * 490),
    ",".join("1" * 490),
    "5" * 5000,
    r"\boxed{" * 3000,
]


@pytest.mark.parametrize("answer", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_answers_are_wrong_and_cost_little(answer: str) -> None:
    """Each takes milliseconds: a grader that hangs does not come back here."""
    for gold in ("5", r"\sqrt{2}", "x+1", r"\sin 1"):
        assert not is_correct(f"\\boxed{{{answer}}}", gold)


def test_no_text_raises(capsys) -> None:
    parts = (
        r"0 12 .5 3.5 x ab f e i ( ) [ ] \{ \} { } | + - * / ^ _ = < \le \in \approx , ; : ! % \$ "
        r"$ \frac \frac12 \sqrt \sqrt[3] \pi \pm \infty \cup \text{cm} \text{and} \sin \log_ & "
        r"\begin{pmatrix} \end{pmatrix} \binom . \overline{3} \angle \mathbb{R} ' ² and sqrt "
        r"\phantom{x} \\"
    ).split()
    rng = random.Random(0)
    texts = ["".join(rng.choices(parts, k=rng.randint(1, 12))) for _ in range(4000)]
    for answer, gold in zip(texts[::2], texts[1::2], strict=True):
        is_correct(f"\\boxed{{{answer}}}", gold)
    assert capsys.readouterr().err == ""


def test_a_failure_of_the_grader_is_reported_and_wrong(monkeypatch, capsys) -> None:
    monkeypatch.setattr(grading, "is_same", lambda answer, gold: 1 / 0)
    assert not is_correct(r"\boxed{1/2}", "0.5")
    assert "ZeroDivisionError on '1/2' against '0.5': counted as" in capsys.readouterr().err


def test_threads_and_forks_change_no_verdict() -> None:
    pairs = [(str(n), str(n + n % 2)) for n in range(200)] + cases(NUMBERS) + cases(NEAR)
    alone = [is_correct(f"\\boxed{{{a}}}", g) for g, a in pairs]
    found: dict[int, list[bool]] = {}

    def grade(number: int) -> None:
        found[number] = [is_correct(f"\\boxed{{{a}}}", g) for g, a in pairs]

    threads = [threading.Thread(target=grade, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    child = os.fork()
    if child == 0:
        grade(-1)
        os._exit(0 if found[-1] == alone else 1)
    for thread in threads:
        thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert [found[number] for number in range(4)] == [alone] * 4


def test_it_works_in_a_script_without_a_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from crosslens.data.grading import is_correct\n"
        "print(is_correct(r'\\boxed{\\frac{1}{2}}', '0.5'))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_prompt_is_evalchemys() -> None:
    assert user_message("1+1?") == "Problem: 1+1?\nMark your solution with \\boxed\nAnswer:"
