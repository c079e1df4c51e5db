"""Run verl on a CPU: a platform, and a rollout server that samples with transformers in batches.

verl imports this module in each of its processes (VERL_USE_EXTERNAL_MODULES). A "GPU" of Ray is
then a logical slot, tensors stay on the CPU, and collectives use gloo. verl's algorithm is
unchanged. Three hooks have no public registry: the entry in `_ROLLOUT_REGISTRY`, the default
backend of the process group, and some memory functions that `torch.cpu` lacks.
"""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import ray
import torch
import verl.utils.distributed
from verl.plugin.platform.platform_cuda import PlatformCUDA
from verl.plugin.platform.platform_manager import PlatformRegistry
from verl.workers.rollout import base as rollout_base
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput

from crosslens.models.sampling import Completion, sample, stop_token_ids

NAME = "crosslens_cpu"
QUIET_SECONDS = 5.0  # without a new request, after which a batch is taken as complete
POLL_SECONDS = 0.005
NEUTRAL_SETTINGS = {"top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0}

for name in (
    "memory_allocated",
    "memory_reserved",
    "max_memory_allocated",
    "max_memory_reserved",
    "empty_cache",
):
    if not hasattr(torch.cpu, name):
        setattr(torch.cpu, name, lambda *_, **__: 0)
for name in ("get_rng_state", "set_rng_state"):
    if not hasattr(torch.cpu, name):
        setattr(torch.cpu, name, getattr(torch, name))


@PlatformRegistry.register(platform="cpu")
class PlatformCPU(PlatformCUDA):
    """verl's view of a machine without an accelerator."""

    device_name = "cpu"
    vendor_name = "cpu"
    device_module = torch.cpu

    def is_available(self) -> bool:
        return True

    def is_platform_available(self, use_smi_check: bool = False) -> bool:
        return True

    def current_device(self) -> torch.device:
        return torch.device("cpu")

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None:
        pass

    def synchronize(self, device_index: int | None = None) -> None:
        pass

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        pass

    def empty_cache(self) -> None:
        pass

    def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def is_ipc_supported(self) -> bool:
        return False


# verl builds "cpu:gloo,{device}:{backend}", which names cpu twice here; its argument goes first.
verl.utils.distributed.initialize_global_process_group_ray.__defaults__ = (None, "cpu:gloo")


class RolloutServer:
    """Token-in, token-out generation; the requests of a step are sampled together.

    Samples depend on the seed, the step and the requests, not on when requests arrive.
    """

    def __init__(self, model_path: str, config: Any, seed: int) -> None:
        from transformers import AutoModelForCausalLM

        from crosslens.models.tokenizer import load_tokenizer

        torch.set_num_threads(1)
        self.config, self.seed = config, seed
        self.global_steps: int | None = None
        self.generator = torch.Generator().manual_seed(seed)
        self.model = AutoModelForCausalLM.from_pretrained(
            model_path, dtype=torch.float32, attn_implementation="sdpa"
        ).eval()
        self.stop_ids = stop_token_ids(self.model, load_tokenizer(Path(model_path)))
        self.pending: list[tuple[list[int], dict, asyncio.Future]] = []
        self.batching: asyncio.Task | None = None

    async def load_weights(self, weights: dict[str, torch.Tensor], global_steps: int) -> None:
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
        self.global_steps = global_steps
        self.generator.manual_seed((self.seed << 32) + global_steps)

    async def generate(
        self, prompt_ids: list[int], sampling_params: dict, request_id: str, **_: Any
    ) -> TokenOutput:
        """Return one completion, sampled together with other waiting requests."""
        future = asyncio.get_running_loop().create_future()
        self.pending.append((list(prompt_ids), dict(sampling_params), future))
        if self.batching is None or self.batching.done():
            self.batching = asyncio.create_task(self.sample_pending())
        completion = await future
        return TokenOutput(
            token_ids=completion.ids,
            log_probs=completion.log_probs if sampling_params.get("logprobs") else None,
            stop_reason="completed",
            extra_fields={"global_steps": self.global_steps},
        )

    async def sample_pending(self) -> None:
        """Sample batch after batch while requests wait."""
        while self.pending:
            await self.wait_for_batch()
            most = self.config.max_num_seqs
            batch, self.pending = self.pending[:most], self.pending[most:]
            batch.sort(key=lambda request: request[0])
            try:
                completions = await asyncio.to_thread(self.sample_batch, batch)
            except Exception as error:
                for *_, future in batch:
                    future.set_exception(error)
                continue
            for (*_, future), completion in zip(batch, completions, strict=True):
                future.set_result(completion)

    async def wait_for_batch(self) -> None:
        """Wait until a full batch is pending, or no more requests arrive."""
        waiting, since = 0, time.monotonic()
        while waiting < self.config.max_num_seqs and time.monotonic() - since < QUIET_SECONDS:
            if len(self.pending) > waiting:
                waiting, since = len(self.pending), time.monotonic()
            await asyncio.sleep(POLL_SECONDS)

    def sample_batch(self, batch: list) -> list[Completion]:
        """Sample a batch. Raises ValueError for unequal or unsupported sampling settings."""
        settings = batch[0][1]
        if any(other != settings for _, other, _ in batch):
            raise ValueError("the CPU rollout needs equal sampling settings for all requests")
        for key, neutral in NEUTRAL_SETTINGS.items():
            if settings.get(key, neutral) != neutral:
                raise ValueError(f"the CPU rollout does not support {key}")
        return sample(
            self.model,
            [ids for ids, *_ in batch],
            max_new_tokens=self.config.response_length,
            temperature=float(settings.get("temperature", 1.0)),
            stop_ids=self.stop_ids,
            generator=self.generator,
        )

    async def no_op(self, *_: Any, **__: Any) -> None:
        """Do nothing, in place of memory management and profiling."""

    wake_up = sleep = clear_kv_cache = release_kv_cache = resume_kv_cache = no_op
    resume_generation = start_profile = stop_profile = abort_all_requests = no_op


class CPUReplica(RolloutReplica):
    """Start one server as a Ray actor."""

    async def launch_servers(self) -> None:
        name = server_name(self.replica_rank)
        actor = ray.remote(RolloutServer).options(name=name, max_concurrency=4096, num_cpus=0)
        server = actor.remote(
            self.model_config.path, self.config, self.config.seed + self.replica_rank
        )
        await server.wake_up.remote()
        self.servers, self._server_handle, self._server_address = [server], server, name


class ServerAdapter(rollout_base.BaseRollout):
    """Send new weights from the trainers' processes to the servers.

    As many trainers share one server as `tensor_model_parallel_size` says; the first one sends.
    """

    async def resume(self, tags: list[str]) -> None:
        pass

    async def release(self) -> None:
        pass

    async def update_weights(self, weights: Any, global_steps: int | None = None, **_: Any) -> None:
        full = {name: (w.full_tensor() if hasattr(w, "full_tensor") else w) for name, w in weights}
        tensors = {name: w.detach().float().cpu() for name, w in full.items()}
        sharing = self.config.tensor_model_parallel_size
        replica, place = divmod(int(os.environ["RANK"]), sharing)
        if place == 0:
            server = ray.get_actor(server_name(replica))
            await server.load_weights.remote(tensors, global_steps)


def server_name(rank: int) -> str:
    """Return the server's name in Ray."""
    return f"{NAME}_{rank}"


rollout_base._ROLLOUT_REGISTRY[NAME, "async"] = f"{__name__}.ServerAdapter"
RolloutReplicaRegistry.register(NAME, lambda: CPUReplica)
