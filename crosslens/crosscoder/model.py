"""The sparse crosscoder over N models: one shared dictionary, a decoder for each model.

Equations are the paper's: 1 and 5 encode, 2 and 6 decode, 3 and 7 are the loss.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Int, Shaped
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from crosslens.io.atomic import atomic_write
from crosslens.io.errors import InputError
from crosslens.models.device import best_device


class Loss(NamedTuple):
    """Means over the batch; `total` = reconstruction + beta * sparsity."""

    total: Float[torch.Tensor, ""]
    reconstruction: Float[torch.Tensor, ""]
    sparsity: Float[torch.Tensor, ""]
    f: Float[torch.Tensor, "b d_sparse"]
    x_hat: Float[torch.Tensor, "b n d_model"]


class Crosscoder(torch.nn.Module):
    """Encode the activations of N models at one token into shared sparse features, and back.

    Inputs `x` [b, n, d_model] are activations times `scales`, which give each model's activations a
    mean norm of sqrt(d_model).
    """

    def __init__(
        self,
        n_models: int,
        d_model: int,
        d_sparse: int,
        *,
        seed: int = 0,
        decoder_norm: float = 0.08,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Draw decoder vectors of norm `decoder_norm` for each model; W_enc starts as W_dec^T."""
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        W_dec = torch.randn(n_models, d_sparse, d_model, generator=generator)
        W_dec *= decoder_norm / W_dec.norm(dim=-1, keepdim=True)
        # Memory has one row per feature, [d_sparse, n, d_model], as kernels and products read it.
        rows = rearrange(W_dec, "n k d -> k n d").contiguous()
        self.W_dec = torch.nn.Parameter(rearrange(rows, "k n d -> n k d"))
        self.W_enc = torch.nn.Parameter(rearrange(rows.clone(), "k n d -> n d k"))
        self.b_enc = torch.nn.Parameter(torch.zeros(d_sparse))
        self.b_dec = torch.nn.Parameter(torch.zeros(n_models, d_model))
        self.register_buffer("scales", torch.ones(n_models))
        self.metadata = metadata or {}

    @property
    def models(self) -> list[str]:
        """Return the variants, in the order of the first axis of the weights."""
        return self.metadata["models"]

    @property
    def threshold(self) -> float:
        """Return what f_k n_k must exceed for feature k to fire: zero without BatchTopK."""
        return self.metadata.get("threshold", 0.0)

    def encode(self, x: Float[torch.Tensor, "b n d_model"]) -> Float[torch.Tensor, "b d_sparse"]:
        """Return f = ReLU(sum_i W_enc^i a^i + b_enc) (Eqs. 1, 5); zero up to the threshold."""
        return self.above_threshold(self.encode_positive(x))

    def above_threshold(
        self, f: Float[torch.Tensor, "*s d_sparse"]
    ) -> Float[torch.Tensor, "*s d_sparse"]:
        """Return f where f_k n_k exceeds the threshold, else zero."""
        return f * (f * self.decoder_norms() > self.threshold) if self.threshold else f

    def encode_positive(
        self, x: Float[torch.Tensor, "b n d_model"]
    ) -> Float[torch.Tensor, "b d_sparse"]:
        """Return the ReLU of the pre-activations."""
        return torch.relu(self.pre_activations(x))

    def pre_activations(
        self, x: Float[torch.Tensor, "b n d_model"]
    ) -> Float[torch.Tensor, "b d_sparse"]:
        """Return sum_i W_enc^i a^i + b_enc, one matrix product over all models."""
        W_enc = rearrange(self.W_enc, "n d k -> (n d) k")
        return torch.addmm(self.b_enc, rearrange(x, "b n d -> b (n d)"), W_enc)

    def encode_branch(
        self, x: Float[torch.Tensor, "... d_model"], model: int
    ) -> Float[torch.Tensor, "... d_sparse"]:
        """Return f from one model's activations only: ReLU(W_enc^i a^i + b_enc) (section 3.2)."""
        return self.above_threshold(torch.relu(x @ self.W_enc[model] + self.b_enc))

    def decode(self, f: Float[torch.Tensor, "b d_sparse"]) -> Float[torch.Tensor, "b n d_model"]:
        """Return a_hat^i = W_dec^i f + b_dec^i (Eqs. 2, 6)."""
        flat = f @ rearrange(self.W_dec, "n k d -> k (n d)")
        return rearrange(flat, "b (n d) -> b n d", n=len(self.W_dec)) + self.b_dec

    def forward(self, x: Float[torch.Tensor, "b n d_model"]) -> Float[torch.Tensor, "b n d_model"]:
        """Return decode(encode(x))."""
        return self.decode(self.encode(x))

    def decoder_norms(self) -> Float[torch.Tensor, " d_sparse"]:
        """Return n_k = sum_i |W_dec,k^i|_2, the weight of each feature in Eqs. 3 and 7."""
        return self.W_dec.norm(dim=-1).sum(dim=0)

    def directions(self) -> Float[torch.Tensor, "n d_sparse d_model"]:
        """Return decoder vectors in the units of each model's residual stream: W_dec^i / s_i."""
        return self.W_dec.detach() / self.scales[:, None, None]

    def loss(self, x: Float[torch.Tensor, "b n d_model"], beta: float) -> Loss:
        """Return the loss of Eqs. 3 and 7, the mean over the batch.

        It is sum_i |a^i - a_hat^i|^2 + beta sum_k f_k sum_i |W_dec,k^i|_2.
        """
        f = self.encode(x)
        x_hat = self.decode(f)
        reconstruction = (x - x_hat).square().sum(dim=(1, 2)).mean()
        sparsity = (f @ self.decoder_norms()).mean()
        return Loss(reconstruction + beta * sparsity, reconstruction, sparsity, f, x_hat)

    @torch.no_grad()
    def restricted(self, features: Sequence[int] | Int[torch.Tensor, " k"]) -> "Crosscoder":
        """Return a crosscoder with only some of the features, which is faster to encode with."""
        kept = torch.as_tensor(features, dtype=torch.long, device=self.W_enc.device)
        n, d, _ = self.W_enc.shape
        small = Crosscoder(n, d, 1, metadata=self.metadata)
        small.W_enc = torch.nn.Parameter(self.W_enc[:, :, kept])
        small.b_enc = torch.nn.Parameter(self.b_enc[kept])
        small.W_dec = torch.nn.Parameter(self.W_dec[:, kept])
        small.scales = self.scales.clone()
        return small.requires_grad_(False)

    def save(self, path: Path) -> None:
        """Write weights, biases and scales as safetensors, the metadata as JSON strings."""
        write_tensors(path, self.state_dict(), self.metadata)

    @classmethod
    def load(cls, path: Path) -> "Crosscoder":
        """Read a crosscoder. Raises InputError when the file does not load."""
        return cls.of(*read_tensors(path))

    @classmethod
    def load_frozen(cls, path: Path) -> "Crosscoder":
        """Read a crosscoder for use without training, onto a GPU if there is one."""
        return cls.load(path).requires_grad_(False).to(best_device())

    @classmethod
    def of(
        cls, tensors: dict[str, Shaped[torch.Tensor, "..."]], metadata: dict[str, Any]
    ) -> "Crosscoder":
        """Return a crosscoder with the tensors of a state_dict."""
        crosscoder = cls(*tensors["W_enc"].shape, metadata=metadata)
        crosscoder.load_state_dict(tensors)
        return crosscoder


def write_tensors(
    path: Path, tensors: dict[str, Shaped[torch.Tensor, "..."]], metadata: dict[str, Any]
) -> None:
    """Write a safetensors file atomically; the same content gives the same bytes.

    Metadata values are stored as JSON, as the format allows only strings.
    """
    texts = {key: json.dumps(value) for key, value in metadata.items()}
    with atomic_write(path) as partial:
        save_file({key: value.contiguous() for key, value in tensors.items()}, partial, texts)
        sort_header(partial)


def sort_header(path: Path) -> None:
    """Sort the header's keys, as safetensors writes metadata in random order."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        ordered = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        file.seek(8)
        file.write(ordered.encode().ljust(size))


def read_decoder(path: Path) -> tuple[list[str], Float[torch.Tensor, "n d_sparse d_model"]]:
    """Read only a crosscoder's models and W_dec, which takes half of the memory.

    Raises InputError when the file cannot be loaded.
    """
    tensors, metadata = read_tensors(path, ["W_dec"])
    return metadata["models"], tensors["W_dec"]


def read_tensors(
    path: Path, names: Sequence[str] = ()
) -> tuple[dict[str, Shaped[torch.Tensor, "..."]], dict[str, Any]]:
    """Read the tensors `names`, or all, and the metadata of a safetensors file.

    Raises InputError when the file cannot be loaded.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in names or file.keys()}
            return tensors, {k: json.loads(v) for k, v in (file.metadata() or {}).items()}
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path}: this file cannot be loaded ({error}). Delete it and run again."
        ) from error
