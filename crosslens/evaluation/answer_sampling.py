"""Sample a model's answers to math problems through vLLM; each is yielded as soon as it ends."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosslens.config.sections import EvaluationConfig
from crosslens.evaluation.answers import Request, engine_arguments
from crosslens.io.progress import track
from crosslens.models.sampling import stop_tokens_of
from crosslens.models.vllm_engine import completions, start_engine

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def sample_answers(
    requests: Sequence[Request],
    model: Path,
    tokenizer: "PreTrainedTokenizerBase",
    task: str,
    settings: EvaluationConfig,
    gpus: int,
) -> Iterator[dict[str, Any]]:
    """Yield the row of each answer (`crosslens.evaluation.answers`), in the order they end."""
    if not requests:
        return
    prompts = [tokenizer.encode(request.prompt, add_special_tokens=False) for request in requests]
    arguments = engine_arguments(model, max(map(len, prompts)), settings.max_new_tokens)
    engine = start_engine("evaluation.backend", model, gpus, arguments | settings.vllm_engine)
    options = {
        "temperature": settings.temperature,
        "max_tokens": settings.max_new_tokens,
        "stop_token_ids": stop_tokens_of(model, tokenizer),
    }
    sampling = [options | {"seed": request.seed} for request in requests]
    completed = completions(engine, prompts, sampling)
    for index, output in track(completed, "sampling", unit="answers", total=len(requests)):
        yield {
            "task": task,
            **requests[index]._asdict(),
            "response": tokenizer.decode(output.token_ids, skip_special_tokens=True),
            "tokens": len(output.token_ids),
            "ended": output.finish_reason == "stop",
        }
