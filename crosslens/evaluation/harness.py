"""Evaluate a model through lm-eval, with the harness's own task code, on local files."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from lm_eval.api.task import ConfigurableTask
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks._yaml_loader import load_yaml
from lm_eval.tasks.hendrycks_math.utils import is_equiv, last_boxed_only_string, remove_boxed
from transformers import AutoModelForCausalLM

from crosslens.config import benchmark_columns
from crosslens.config.json_files import check_columns
from crosslens.config.sections import EvaluationConfig
from crosslens.data.grading import is_correct, user_message
from crosslens.evaluation.answers import SEED, Answers, given_answer
from crosslens.evaluation.benchmark_rows import field
from crosslens.evaluation.harness_files import task_file
from crosslens.evaluation.likelihoods import log_likelihoods, trees_agree
from crosslens.io.errors import InputError
from crosslens.models.batching import batches_by_length
from crosslens.models.loading import load_network, loading
from crosslens.models.sampling import sample, stop_token_ids
from crosslens.models.tokenizer import load_tokenizer

SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")


class Model(HFLM):
    """lm-eval's Hugging Face model, with choices scored together and finished rows dropped.

    If it gets `answers` to the math sets, it samples none.
    """

    answers: Answers | None = None

    def _loglikelihood_tokens(
        self, requests: list, disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        """Return each continuation's log-probability, and whether its tokens are the most likely.

        An architecture that cannot share prompts is scored by the harness's own code.
        """
        if not requests or not trees_agree(self.model, requests, self.max_length):
            return super()._loglikelihood_tokens(requests, disable_tqdm, override_bs)
        scored = log_likelihoods(
            self.model, requests, max_length=self.max_length, batch_size=int(self.batch_size)
        )
        by_request: dict[int, tuple[float, bool]] = {}
        for index, log_prob, is_greedy in scored:
            by_request[index] = log_prob, is_greedy
            self.cache_hook.add_partial("loglikelihood", requests[index][0], by_request[index])
        return [by_request[index] for index in range(len(requests))]

    def generate_until(self, requests: list, disable_tqdm: bool = False) -> list[str]:
        """Return one completion of each request; repetition i of a request has seed 1234 + i."""
        repetitions = count_repetitions(requests)
        if self.answers is not None:
            return [
                given_answer(self.answers, request.task_name, request.doc_id, i, request.args[0])
                for request, i in zip(requests, repetitions, strict=True)
            ]
        texts: dict[int, str] = {}
        for repetition in sorted(set(repetitions)):
            indices = [index for index, i in enumerate(repetitions) if i == repetition]
            generator = torch.Generator(self.device).manual_seed(SEED + repetition)
            prompts = {index: requests[index].args[0] for index in indices}
            for batch in batches_by_length(prompts, int(self.batch_size)):
                texts |= self.complete(requests, batch, generator)
        return [texts[index] for index in range(len(requests))]

    def complete(
        self, requests: list, indices: list[int], generator: torch.Generator
    ) -> dict[int, str]:
        """Sample one batch."""
        options = requests[indices[0]].args[1]
        completions = sample(
            self.model,
            [self.tok_encode(requests[i].args[0], add_special_tokens=False) for i in indices],
            max_new_tokens=options["max_gen_toks"],
            temperature=options["temperature"],
            stop_ids=stop_token_ids(self.model, self.tokenizer),
            generator=generator,
        )
        texts = [self.tok_decode(c.ids, skip_special_tokens=True) for c in completions]
        return dict(zip(indices, texts, strict=True))


def count_repetitions(requests: list) -> list[int]:
    """Return how often each request occurred before; the harness repeats the same object."""
    seen: Counter[int] = Counter()
    repetitions = []
    for request in requests:
        repetitions.append(seen[id(request)])
        seen[id(request)] += 1
    return repetitions


def load_model(path: Path, batch_size: int, kind: type[HFLM] = Model) -> HFLM:
    """Load a checkpoint as an lm-eval model of class `kind`.

    Raises InputError when it cannot be loaded or lacks weights.
    """
    network = load_network(path, AutoModelForCausalLM)
    with loading(path):
        tokenizer = load_tokenizer(path)
    return kind(
        pretrained=network,
        tokenizer=tokenizer,
        batch_size=batch_size,
        max_length=network.config.max_position_embeddings,
    )


def harness_config(task: str) -> dict[str, Any]:
    """Return the harness's own configuration of a task, with includes and functions resolved.

    Raises InputError when the harness has no such task.
    """
    return load_yaml(task_file(task), resolve_func=True, recursive=True)


def local(config: dict[str, Any], file: Path, cache: Path) -> dict[str, Any]:
    """Return a task configuration that reads a local file in place of the hub's data set."""
    return {
        **config,
        **dict.fromkeys(SPLITS),
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {"test": str(file)}, "cache_dir": str(cache)},
        "test_split": "test",
    }


def math_config(task: str, repeats: int, temperature: float, max_new_tokens: int) -> dict[str, Any]:
    """Return Evalchemy's protocol as a task of the harness: every repetition is graded and kept."""
    metrics = [*(f"repetition_{i}" for i in range(repeats)), "exact_match"]
    return {
        "task": task,
        "output_type": "generate_until",
        "doc_to_text": lambda doc: user_message(field(doc, "problem")),
        "doc_to_target": lambda doc: str(field(doc, "answer")),
        "process_results": lambda doc, results: grade(str(field(doc, "answer")), results[0]),
        "filter_list": [
            {"name": "all", "filter": [{"function": "take_first_k", "k": repeats}]},
        ],
        "repeats": repeats,
        "num_fewshot": 0,
        "generation_kwargs": {
            "do_sample": True,
            "temperature": temperature,
            "max_gen_toks": max_new_tokens,
            "until": [],
        },
        "metric_list": [
            {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in metrics
        ],
    }


def grade(gold: str, responses: list[str]) -> dict[str, float]:
    """Grade each repetition by the project's grader.

    `exact_match` is the mean by the harness's own functions, as Evalchemy grades.
    """
    right = {f"repetition_{i}": float(is_correct(r, gold)) for i, r in enumerate(responses)}
    same = [same_box(r, gold) for r in responses]
    return right | {"exact_match": sum(same) / len(same)}


def same_box(response: str, gold: str) -> bool:
    """Return whether the harness finds `gold` in the last box of a response."""
    box = last_boxed_only_string(response)
    try:
        return box is not None and is_equiv(remove_boxed(box), gold)
    except AssertionError:  # remove_boxed's, on a box of another form
        return False


class Agreement(NamedTuple):
    """Counts of responses by two verdicts, and the responses that only one of the graders accepts.

    The harness compares texts and so accepts less. If responses that only our grader accepts become
    more frequent during GRPO, the policy may have found a form that the grader should refuse.
    """

    both: int
    neither: int
    grader_only: list[tuple[str, str]]
    harness_only: list[tuple[str, str]]


def compare_graders(responses: Iterable[tuple[str, str]]) -> Agreement:
    """Grade pairs of response and gold answer by the project's grader and by the harness."""
    by_verdicts: dict[tuple[bool, bool], list[tuple[str, str]]] = {}
    for response, gold in responses:
        verdicts = is_correct(response, gold), same_box(response, gold)
        by_verdicts.setdefault(verdicts, []).append((response, gold))
    return Agreement(
        both=len(by_verdicts.get((True, True), [])),
        neither=len(by_verdicts.get((False, False), [])),
        grader_only=by_verdicts.get((True, False), []),
        harness_only=by_verdicts.get((False, True), []),
    )


@contextmanager
def tasks_of(settings: EvaluationConfig, names: list[str]) -> Iterator[dict[str, ConfigurableTask]]:
    """Yield the harness's task objects for multiple-choice and math sets.

    `settings` is the configuration's `evaluation`. Raises InputError for an unknown task and for a
    local file that lacks a column.
    """
    with TemporaryDirectory() as cache:
        tasks = {}
        math_tasks = {str(task): entry for task, entry in settings.math.items()}
        for name in names:
            math = math_tasks.get(name)
            config = (
                math_config(name, math.repeats, settings.temperature, settings.max_new_tokens)
                if math
                else harness_config(name)
            )
            file = settings.files[name].dataset
            columns = benchmark_columns.columns(name, math=math is not None)
            check_columns(f"evaluation.files.{name}", file, columns)
            tasks[name] = ConfigurableTask(config=local(config, Path(file), Path(cache)))
        yield tasks


def run(
    model: HFLM, tasks: dict[str, ConfigurableTask], math: bool = False
) -> dict[str, list[dict]]:
    """Evaluate tasks and return the harness's per-sample records, sorted by document.

    Math sets go through the chat template.
    """
    done = evaluate(model, tasks, bootstrap_iters=0, log_samples=True, apply_chat_template=math)
    return {name: sorted(done["samples"][name], key=lambda s: s["doc_id"]) for name in tasks}


def outcomes(name: str, samples: list[dict], repeats: int | None) -> list[dict]:
    """Return a record for each document and repetition: correct or not, with the document's hash.

    Raises InputError when the harness measures no accuracy on the task.
    """
    if repeats is None and samples and "acc" not in samples[0]:
        raise InputError(
            f"evaluation.tasks: lm-eval reports no accuracy (acc) for {name}. Choose a "
            "multiple-choice task."
        )
    rows = []
    for s in samples:
        key = {"task": name, "doc_id": s["doc_id"], "doc_hash": s["doc_hash"]}
        if repeats is None:
            rows.append(key | {"repetition": 0, "correct": int(s["acc"])})
            continue
        for i, response in enumerate(s["filtered_resps"][0]):
            right = int(s[f"repetition_{i}"])
            rows.append(key | {"repetition": i, "correct": right, "response": response})
    return rows
