"""Sample the completions of a step with transformers, with the weights of verl's trainer."""

from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from crosslens.models.sampling import Completion, sample, stop_token_ids
from crosslens.models.tokenizer import load_tokenizer

NEUTRAL_SETTINGS = {"top_p": 1.0, "top_k": -1}


class BatchSampler:
    """A second copy of the trainer's model, which samples many completions together.

    Samples depend on the seed, the step and the prompts, not on earlier steps.
    """

    def __init__(self, model_path: str, *, seed: int, max_new_tokens: int, most: int) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(
            model_path, dtype=torch.float32, attn_implementation="sdpa"
        ).eval()
        self.stop_ids = stop_token_ids(self.model, load_tokenizer(Path(model_path)))
        self.seed, self.max_new_tokens, self.most = seed, max_new_tokens, most
        self.generator = torch.Generator().manual_seed(seed)

    def load_weights(self, weights: dict[str, torch.Tensor], global_steps: int) -> None:
        """Copy the trainer's weights, in place; one of two tied weights may be missing.

        Raises ValueError when weights are missing or unknown.
        """
        own = self.model.state_dict(keep_vars=True)
        received = {id(own[name]) for name in weights if name in own}
        differing = [name for name in weights if name not in own]
        differing += [name for name, tensor in own.items() if id(tensor) not in received]
        if differing:
            raise ValueError(f"the trainer and the rollout differ in the tensor {differing[0]}")
        self.model.load_state_dict(weights, strict=False)
        self.generator.manual_seed((self.seed << 32) + global_steps)

    def sample(self, prompts: list[list[int]], settings: Mapping[str, float]) -> list[Completion]:
        """Return a completion of each prompt (token ids), at most `most` sampled at a time.

        `settings` are verl's. Raises ValueError for a setting that is not supported.
        """
        for key, neutral in NEUTRAL_SETTINGS.items():
            if settings.get(key, neutral) != neutral:
                raise ValueError(f"the CPU rollout does not support {key}")
        completions = []
        for start in range(0, len(prompts), self.most):
            completions += sample(
                self.model,
                prompts[start : start + self.most],
                max_new_tokens=self.max_new_tokens,
                temperature=float(settings["temperature"]),
                stop_ids=self.stop_ids,
                generator=self.generator,
            )
        return completions
