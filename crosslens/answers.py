"""The one grader: reward, rejection of teacher traces and evaluation all ask `is_correct`.

math-verify compares answers but may hang on hostile input, and its own timeouts need the main
thread's signals. So it runs in a worker process that is killed and replaced when it takes too long,
from whichever thread asks.
"""

import atexit
import multiprocessing
import re
import sys
import threading

from crosslens.errors import InputError

PROMPT = "Problem: {problem}\nMark your solution with \\boxed\nAnswer:"  # Evalchemy's
TIMEOUT = 5.0  # seconds for one comparison
PATIENCE = 3  # how many times longer the second attempt may take
START = 600.0  # seconds for a worker's start: no answer makes it slow, only the machine does
BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])\s*")


def user_message(problem: str) -> str:
    """The user's turn for a math problem, in Evalchemy's words."""
    return PROMPT.format(problem=problem)


def extract_answer(response: str) -> str | None:
    r"""What the last `\boxed` or `\fbox` of a response holds, or None.

    In braces, which must be balanced, or as one word (`\boxed 5`), which the harness takes too.
    """
    boxes = list(BOX.finditer(response))
    if not boxes:
        return None
    start = boxes[-1].end()
    if response[start : start + 1] != "{":
        word = re.match(r"[^\s$]+", response[start:])
        return word[0].rstrip(".,;") if word else None
    depth = 0
    for position in range(start, len(response)):
        depth += {"{": 1, "}": -1}.get(response[position], 0)
        if depth == 0:
            return response[start + 1 : position].strip()
    return None


def is_correct(response: str, gold: str, *, timeout: float = TIMEOUT) -> bool:
    r"""Whether the last boxed answer of `response` equals `gold`, by math-verify.

    Of an equation in the box the last side is the answer where `gold` is none, whatever stands on
    the other: `\boxed{x=5}` is right for 5, and so is `\boxed{3=5}`. So math-verify has it, and so
    verl's DAPO scorer; Evalchemy and the harness do where the first side has one or two characters.

    A response without a closed box is wrong, and so is one whose comparison takes over `timeout`
    seconds, then over `PATIENCE` times as long in a fresh worker: a busy machine is not wrong.
    Whatever is given up is said on stderr. Raises InputError when the worker dies twice in a row.
    """
    answer = extract_answer(response)
    if answer is None:
        return False
    if answer == gold.strip():
        return True
    for limit in (timeout, PATIENCE * timeout):
        if (right := WORKER.ask(answer, gold, limit)) is not None:
            return right
    said = f"grader: {answer[:80]!r} against {gold[:80]!r} took over {limit:g} s: counted as wrong"
    print(said, file=sys.stderr, flush=True)
    return False


def serve(connection) -> None:
    """Answer comparisons until the other end closes. Runs in the worker process."""
    import logging

    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    while True:
        try:
            answer, gold = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            given = parse(f"${answer}$", parsing_timeout=None)
            wanted = parse(f"${gold}$", parsing_timeout=None)
            connection.send(bool(verify(wanted, given, timeout_seconds=None)))
        except Exception:  # math-verify raises many kinds; none of them is a right answer
            connection.send(False)


class Worker:
    """A process that compares answers; started when first asked, replaced when it hangs or dies.

    Replaced once: that two die in a row is an error, and no wrong answer, as it may be for lack of
    memory.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process = None
        self.connection = None

    def ask(self, answer: str, gold: str, timeout: float) -> bool | None:
        """Compare within `timeout` seconds, not counting the worker's start; None otherwise.

        Raises InputError when the worker dies, and so does the one started in its place.
        """
        with self.lock:
            try:
                return self.compare(answer, gold, timeout)
            except (EOFError, OSError):
                self.stop()
            try:
                return self.compare(answer, gold, timeout)
            except (EOFError, OSError) as error:
                self.stop()
                raise InputError(
                    f"the grader's process ended twice before it compared {answer[:80]!r} with "
                    f"{gold[:80]!r}: the log has its last words (is math-verify installed?); "
                    "without any, something killed it, as a lack of memory does"
                ) from error

    def compare(self, answer: str, gold: str, timeout: float) -> bool | None:
        """The same by one worker, started where there is none. Raises EOFError when it dies."""
        if self.process is None:
            self.start()
        self.connection.send((answer, gold))
        if self.connection.poll(timeout):
            return self.connection.recv()
        self.stop()
        return None

    def start(self) -> None:
        """Start the process and wait until it has imported math-verify.

        Raises EOFError when it dies, InputError when it takes over `START` seconds or compares
        wrongly.
        """
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.connection.send(("1", "1"))
        if not self.connection.poll(START) or not self.connection.recv():
            self.stop()
            raise InputError(
                f"the grader's process is not ready after {START:g} s, or compares wrongly: is "
                "math-verify installed?"
            )

    def stop(self) -> None:
        """Kill the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.connection.close()
            self.process = None


WORKER = Worker()
atexit.register(WORKER.stop)
