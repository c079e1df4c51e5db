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

from crosslens.io.errors import InputError

PROMPT = "Problem: {problem}\nMark your solution with \\boxed\nAnswer:"  # Evalchemy's
TIMEOUT = 5.0  # seconds for one comparison
PATIENCE = 3  # how many times longer the second attempt may take
START = 600.0  # seconds for a worker's start: no answer makes it slow, only the machine does
SAY_EVERY = 30  # seconds of such waiting after which it is said
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
    seconds or ends the worker, then again in a fresh worker with `PATIENCE` times as long: a busy
    machine is not wrong. Whatever is given up is said on stderr. Raises InputError when no worker
    starts.
    """
    answer = extract_answer(response)
    if answer is None:
        return False
    if answer == gold.strip():
        return True
    for limit in (timeout, PATIENCE * timeout):
        if (right := WORKER.ask(answer, gold, limit)) is not None:
            return right
    said = f"{answer[:80]!r} against {gold[:80]!r} took over {limit:g} s or ended the grader, twice"
    print(f"grader: {said}: counted as wrong", file=sys.stderr, flush=True)
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
    """A process that compares answers; started when first asked, replaced when it hangs or dies."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process = None
        self.connection = None

    def ask(self, answer: str, gold: str, timeout: float) -> bool | None:
        """Compare within `timeout` seconds, not counting the worker's start; None otherwise, or
        when the worker dies of it.
        """
        with self.lock:
            if self.process is None:
                self.start()
            try:
                self.connection.send((answer, gold))
                if self.connection.poll(timeout):
                    return self.connection.recv()
            except (EOFError, OSError):
                pass
            self.stop()
            return None

    def start(self) -> None:
        """Start the process and wait until it has imported math-verify and compared rightly.

        Raises InputError when it does not, or takes over `START` seconds.
        """
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        try:
            self.connection.send(("1", "1"))
            ready = self.answers_within(START) and self.connection.recv()
        except (EOFError, OSError):
            ready = False
        if not ready:
            self.stop()
            raise InputError(
                f"the grader's process does not start, not within {START:g} s: the log has its "
                "last words (is math-verify installed?); without any, something killed it, as a "
                "lack of memory does"
            )

    def answers_within(self, seconds: float) -> bool:
        """Wait for the process, and say so while it takes long."""
        for waited in range(0, int(seconds), SAY_EVERY):
            if waited:
                said = f"grader: its process is still starting, waiting up to {seconds:g} s for it"
                print(said, file=sys.stderr, flush=True)
            if self.connection.poll(min(SAY_EVERY, seconds - waited)):
                return True
        return False

    def stop(self) -> None:
        """Kill the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.connection.close()
            self.process = None


WORKER = Worker()
atexit.register(WORKER.stop)
