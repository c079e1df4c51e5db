"""Run verl on a CPU: a platform, and a rollout in which the trainer's process samples.

verl imports this module in each of its processes (VERL_USE_EXTERNAL_MODULES). A "GPU" of Ray is
then a logical slot, tensors stay on the CPU, and collectives use gloo. verl's algorithm is
unchanged. Three hooks have no public registry: the entry in `_ROLLOUT_REGISTRY`, the default
backend of the process group, and some memory functions that `torch.cpu` lacks.
"""

import os
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import verl.utils.distributed
from verl.plugin.platform.platform_cuda import PlatformCUDA
from verl.plugin.platform.platform_manager import PlatformRegistry
from verl.workers.rollout import base as rollout_base
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry

if TYPE_CHECKING:
    from crosslens.posttraining.grpo.batch_sampler import BatchSampler

NAME = "crosslens_cpu"

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


class CPURollout(rollout_base.BaseRollout):
    """A rollout that samples in a trainer's process.

    `tensor_model_parallel_size` trainers share one sampler, which is in the first of them.
    """

    sampler: ClassVar["BatchSampler"]  # of this process

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        from crosslens.posttraining.grpo.batch_sampler import BatchSampler

        super().__init__(*arguments, **settings)
        replica, place = divmod(int(os.environ["RANK"]), self.config.tensor_model_parallel_size)
        self.samples = place == 0
        if self.samples:
            CPURollout.sampler = BatchSampler(
                self.model_config.path,
                seed=self.config.seed + replica,
                max_new_tokens=self.config.response_length,
                most=self.config.max_num_seqs,
            )

    async def resume(self, tags: list[str]) -> None:
        pass

    async def release(self) -> None:
        pass

    async def update_weights(self, weights: Any, global_steps: int = 0, **_: Any) -> None:
        full = {name: (w.full_tensor() if hasattr(w, "full_tensor") else w) for name, w in weights}
        if self.samples:
            self.sampler.load_weights({name: w.detach() for name, w in full.items()}, global_steps)


class CPUReplica(RolloutReplica):
    """verl's view of a sampler: no server is started, as a trainer's process samples."""

    samplers: ClassVar[list[Any]] = []  # the processes that sample, by rank

    async def launch_servers(self) -> None:
        self._server_address = f"{NAME}_{self.replica_rank}"
        self.samplers.append(self.workers[0])


def sample_in_trainer(
    _: Any, prompts: list[list[int]], settings: dict[str, float]
) -> list[tuple[list[int], list[float]]]:
    """Return tokens and log-probabilities that this process samples; Ray calls it on an actor."""
    completions = CPURollout.sampler.sample(prompts, settings)
    return [(completion.ids, completion.log_probs) for completion in completions]


rollout_base._ROLLOUT_REGISTRY[NAME, "async"] = f"{__name__}.CPURollout"
RolloutReplicaRegistry.register(NAME, lambda: CPUReplica)
