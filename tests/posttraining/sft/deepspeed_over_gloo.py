"""Start LLaMA-Factory's entry point where DeepSpeed's processes share a CPU, over gloo.

    python -m deepspeed_over_gloo SETTINGS.yaml BATCH_SIZE

DeepSpeed would compile a transport of its own. It gathers parameters with gradients switched on,
which NCCL does not mind.
"""

import runpy

from crosslens.posttraining.backend_process import hide_media_packages

hide_media_packages()

import deepspeed.ops  # noqa: E402
import torch  # noqa: E402
from deepspeed.comm.torch import TorchBackend  # noqa: E402

deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
TorchBackend.all_gather_into_tensor = torch.no_grad()(TorchBackend.all_gather_into_tensor)

if __name__ == "__main__":
    runpy.run_module("crosslens.posttraining.sft.entrypoint", run_name="__main__", alter_sys=True)
