"""Sample and reward a step's completions in one call, in place of verl's agent loops.

verl sends completions through its processes one by one. With the synthetic model this takes four
times as long as the sampling.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import ray
import torch
import transfer_queue as tq
from omegaconf import DictConfig
from tensordict import TensorDict
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.utils import hf_tokenizer
from verl.utils.tensordict_utils import get, list_of_dict_to_tensordict
from verl.utils.tokenizer.chat_template import apply_chat_template

from crosslens.posttraining.grpo.cpu_platform import CPUReplica, sample_in_trainer

PROMPT_FIELDS = ("uid", "data_source", "reward_model")  # that its completions have too
TURNS = 2  # the user's and the assistant's


class BatchRollout:
    """verl's agent loop manager for single-turn completions that verl's trainer samples on a CPU.

    Completions are stored in the order of their tokens, so that equal ones give equal updates.
    """

    def __init__(self, config: DictConfig) -> None:
        model, self.rollout = config.actor_rollout_ref.model, config.actor_rollout_ref.rollout
        self.template = config.data.get("apply_chat_template_kwargs") or {}
        self.tokenizer = hf_tokenizer(model.tokenizer_path or model.path)
        self.compute_score = get_custom_reward_fn(config)

    @classmethod
    def create(cls, config: DictConfig, **_: Any) -> "BatchRollout":
        """Return a manager, which needs neither a client nor reward workers."""
        return cls(config)

    def generate_sequences(self, prompts: TensorDict) -> None:
        """Put the completions of some prompts into verl's queue, from which its trainer reads."""
        validate, step = "validate" in prompts, get(prompts, "global_steps")
        settings = self.rollout.val_kwargs if validate else self.rollout
        columns = {key: get(prompts, key) for key in ("raw_prompt", "extra_info", *PROMPT_FIELDS)}
        rows = [{key: column[i] for key, column in columns.items()} for i in range(len(prompts))]
        fields = self.complete(rows, settings)
        partition = "val" if validate else "train"
        tq.kv_batch_put(
            keys=[f"{field['uid']}_{number}_0" for number, field in enumerate(fields)],
            fields=list_of_dict_to_tensordict(fields),
            tags=[completion_tag(field, step) for field in fields],
            partition_id=partition,
        )
        finished = [{"status": "finished"}] * len(rows)
        tq.kv_batch_put(keys=columns["uid"], tags=finished, partition_id=partition)

    def complete(self, rows: Sequence[Mapping], settings: Any) -> list[dict[str, Any]]:
        """Return verl's fields of `settings.n` completions of each row."""
        tokens = [self.prompt_tokens(row["raw_prompt"]) for row in rows]
        repeated = [i for i in range(len(rows)) for _ in range(settings.n)]
        repeated.sort(key=lambda i: tokens[i])
        sampling = {key: settings[key] for key in ("temperature", "top_p", "top_k")}
        sampled = sample_in_parts([tokens[i] for i in repeated], sampling)
        done = list(zip(repeated, sampled, strict=True))
        done.sort(key=lambda pair: (tokens[pair[0]], pair[1]))
        return [self.fields(rows[i], tokens[i], *completion) for i, completion in done]

    def prompt_tokens(self, messages: list[dict]) -> list[int]:
        """Return the token ids of the conversation that the model continues."""
        ids = apply_chat_template(self.tokenizer, list(messages), **self.template)
        return ids[-self.rollout.prompt_length :]

    def fields(
        self, row: Mapping, prompt: list[int], answer: list[int], log_probs: list[float]
    ) -> dict[str, Any]:
        """Return a completion with its reward, at its last token, in verl's fields."""
        prompts, responses = torch.tensor(prompt), torch.tensor(answer)
        mask, rewards = torch.ones_like(responses), torch.zeros(len(responses))
        rewards[-1] = self.compute_score(
            data_source=row["data_source"],
            solution_str=self.tokenizer.decode(answer, skip_special_tokens=True),
            ground_truth=row["reward_model"]["ground_truth"],
            extra_info=row["extra_info"],
        )
        fields = {"prompts": prompts, "responses": responses}
        fields["input_ids"] = torch.cat([prompts, responses])
        fields["position_ids"] = torch.arange(len(prompt) + len(responses))
        fields |= {"response_mask": mask, "loss_mask": mask, "rm_scores": rewards}
        if self.rollout.calculate_log_probs:
            fields["rollout_log_probs"] = torch.tensor(log_probs)
        return fields | {"num_turns": TURNS} | {key: row[key] for key in PROMPT_FIELDS}


def completion_tag(fields: Mapping[str, torch.Tensor], step: int) -> dict[str, Any]:
    """Return the tag, in verl's queue, of a completion by the weights after `step` - 1."""
    lengths = {"prompt_len": len(fields["prompts"]), "response_len": len(fields["responses"])}
    steps = {"global_steps": step, "min_global_steps": step - 1, "max_global_steps": step - 1}
    return {"status": "success", "seq_len": sum(lengths.values())} | lengths | steps


def sample_in_parts(
    prompts: list[list[int]], settings: dict[str, float]
) -> list[tuple[list[int], list[float]]]:
    """Return a completion of each prompt: tokens and log-probabilities.

    Each process that samples gets an equal part of the prompts.
    """
    samplers = CPUReplica.samplers
    bounds = [len(prompts) * k // len(samplers) for k in range(len(samplers) + 1)]
    parts = [
        sampler.__ray_call__.remote(sample_in_trainer, prompts[start:end], settings)
        for sampler, start, end in zip(samplers, bounds, bounds[1:], strict=False)
    ]
    return [completion for part in ray.get(parts) for completion in part]
