"""Likelihoods, sampled answers, feature scores and one intervention, on the device."""

import time
from functools import partial

import numpy as np
import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from benchmarks.extraction import SHAPE
from benchmarks.gpu.extraction import THIN
from benchmarks.gpu.section import Machine, Part, Result, require
from benchmarks.timing import interleaved, ratio
from crosslens.analysis.edits import ZERO
from crosslens.analysis.feature_scores import BASE, READOUTS, RL, Groups, features_of, score
from crosslens.analysis.interventions import intervene
from crosslens.crosscoder.model import Crosscoder
from crosslens.evaluation.likelihoods import Request, log_likelihoods, trees_agree
from crosslens.models.decoder import decoder_layers
from crosslens.models.sampling import Completion, sample

CHOICES, LENGTH = 4, 8  # of a question: choices, and tokens of each
NEW_TOKENS = 32  # of an answer at most
STOP_EVERY = 16  # one of so many tokens of the vocabulary ends an answer
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 3e-2}
MODELS = ["base", "sft-5", "rl-5"]


def network_of(
    shape: dict[str, int], device: str, dtype: torch.dtype, *, tied: bool = True
) -> torch.nn.Module:
    """Return a random causal language model."""
    torch.manual_seed(0)
    config = Qwen3Config(**shape, max_position_embeddings=4096, tie_word_embeddings=tied)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return model.eval().requires_grad_(False)


def random_questions(count: int, prompt: int, vocabulary: int) -> list[Request]:
    """Return the requests of questions with random prompts and choices."""
    generator = np.random.default_rng(0)
    requests: list[Request] = []
    for question in range(count):
        context = generator.integers(0, vocabulary, prompt).tolist()
        for choice in range(CHOICES):
            ids = generator.integers(0, vocabulary, LENGTH).tolist()
            requests.append(((str(question), str(choice)), context, ids))
    return requests


def likelihoods(shape: dict[str, int], questions: int, dtype: torch.dtype, device: str) -> Result:
    """Score questions as trees; compare the first with plain sequences."""
    network = network_of(shape, device, dtype)
    requests = random_questions(questions, 200, shape["vocab_size"])
    require(trees_agree(network, requests, 1024), "trees and plain sequences give other scores")
    started = time.perf_counter()
    found = list(log_likelihoods(network, requests, max_length=1024, batch_size=16))
    speed = questions / (time.perf_counter() - started)
    require(len(found) == len(requests), f"{len(found)} of {len(requests)} choices are scored")
    require(all(np.isfinite(p) for _, p, _ in found), "a log-likelihood is not finite")
    text = f"trees agree with plain sequences; {speed:.1f} questions a second"
    return Result(text, {"questions a second": speed})


def greedy_error(
    network: torch.nn.Module, prompts: list[list[int]], answers: list[Completion]
) -> float:
    """Return the largest error of greedy answers, by one plain pass over each on the CPU, in nats.

    Errors are of a token's log-probability, and how far it is below the most likely token's.
    """
    worst = 0.0
    for prompt, answer in zip(prompts, answers, strict=True):
        logits = network(input_ids=torch.tensor([prompt + answer.ids])).logits[0]
        log_probs = logits[len(prompt) - 1 : -1].log_softmax(-1)
        own = log_probs.gather(1, torch.tensor(answer.ids)[:, None])[:, 0]
        below, off = log_probs.amax(-1) - own, (own - torch.tensor(answer.log_probs)).abs()
        worst = max(worst, float(below.max()), float(off.max()))
    return worst


def sampling(shape: dict[str, int], rows: int, dtype: torch.dtype, device: str) -> Result:
    """Answer prompts of different lengths greedily; compare float32 with plain passes on the CPU.

    Embeddings are not tied: a random model with tied ones repeats one token.
    """
    network = network_of(shape, device, dtype, tied=False)
    generator, words = np.random.default_rng(0), shape["vocab_size"]
    prompts = [generator.integers(0, words, 20 + row % 64).tolist() for row in range(rows)]
    stops = list(range(0, words, STOP_EVERY))
    started = time.perf_counter()
    answers = sample(network, prompts, max_new_tokens=NEW_TOKENS, temperature=0.0, stop_ids=stops)
    speed = sum(len(answer.ids) for answer in answers) / (time.perf_counter() - started)
    ended = sum(answer.ended for answer in answers)
    require(0 < ended < rows, f"{ended} of {rows} answers ended")
    ends = [answer.ended or len(answer.ids) == NEW_TOKENS for answer in answers]
    require(all(ends), "an answer that did not end is too short")
    finite = all(np.isfinite(answer.log_probs).all() for answer in answers)
    require(finite, "a log-probability is not finite")
    text, numbers = f"{speed:,.0f} tokens a second", {"tokens a second": speed}
    if dtype == torch.float32:
        numbers["error"] = greedy_error(network.cpu(), prompts, answers)
        require(numbers["error"] <= TOLERANCE[dtype], f"answers differ by {numbers['error']:.1e}")
        text = f"answers are the CPU's, log-probabilities within {numbers['error']:.1e}; {text}"
    return Result(text, numbers)


def random_crosscoder(d_model: int, d_sparse: int, device: str) -> Crosscoder:
    """Return a three-model crosscoder of which some features fire."""
    crosscoder = Crosscoder(3, d_model, d_sparse, decoder_norm=1.0, metadata={"models": MODELS})
    torch.nn.init.constant_(crosscoder.b_enc, -1.0)
    crosscoder.scales.copy_(torch.tensor([1.0, 0.5, 2.0]))
    return crosscoder.requires_grad_(False).to(device)


def feature_scores(questions: int, d_model: int, d_sparse: int, device: str) -> Result:
    """Score all features, and compare the first ones with float64 on the CPU."""
    crosscoder = random_crosscoder(d_model, d_sparse, device)
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(questions, 3, d_model, generator=generator)
    numbers = np.arange(questions)
    groups = Groups(["gpqa", "piqa"], numbers % 2, numbers // 2 % 2, numbers // 4 % 4)
    started = time.perf_counter()
    found = score(crosscoder, states.to(device), groups, readout="branch", unit="p99")
    seconds = time.perf_counter() - started
    small = crosscoder.cpu().restricted(range(min(256, d_sparse))).double()
    small.scales = small.scales.double()
    rl, base = (features_of(small, states.double(), i, "branch") for i in (RL, BASE))
    member = torch.nn.functional.one_hot(torch.from_numpy(groups.flat()), groups_in(groups))
    expected = (member.T.double() @ (rl - base)).reshape(*groups.shape(), -1).numpy()
    gain = found.gain[READOUTS.index("branch")][..., : expected.shape[-1]]
    error = float(np.linalg.norm(gain - expected) / np.linalg.norm(expected))
    require(error <= 1e-3, f"scores differ from float64 on the CPU by {error:.1e}")
    text = f"{questions} questions in {seconds:.2f} s; relative error {error:.1e}"
    return Result(text, {"seconds": seconds, "relative error": error})


def groups_in(groups: Groups) -> int:
    """Return the number of cells of all tasks and halves."""
    return int(np.prod(groups.shape()))


def stream(network: torch.nn.Module, ids: torch.Tensor, layer: int) -> torch.Tensor:
    """Return the residual stream after some layers, edits included."""
    seen: list[torch.Tensor] = []

    def keep(module: torch.nn.Module, args: tuple, output: object) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    handle = decoder_layers(network.model)[layer - 1].register_forward_hook(keep)
    network(input_ids=ids)
    handle.remove()
    return seen[0]


@torch.inference_mode()
def intervention(shape: dict[str, int], d_sparse: int, dtype: torch.dtype, device: str) -> Result:
    """Zero features in the RL model's place, and compare the stream with h - f W_dec / s."""
    network = network_of(shape, device, dtype)
    layer, features = shape["num_hidden_layers"] // 2, list(range(0, d_sparse, 16))
    crosscoder = random_crosscoder(shape["hidden_size"], d_sparse, device)
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, shape["vocab_size"], (8, 128)))
    ids, options = ids.to(device), {"index": RL, "layer": layer, "readout": "branch"}
    options |= {"skip_positions": 0, "sink_threshold": float("inf")}

    def edited(chosen: list[int]) -> torch.Tensor:
        with intervene(network, crosscoder, features=chosen, dose=ZERO, **options):
            return stream(network, ids, layer)

    h = stream(network, ids, layer)
    crosscoder.scales[RL] = shape["hidden_size"] ** 0.5 / h.float().norm(dim=-1).mean()
    require(torch.equal(edited([]), h), "an edit of no features changes the stream")
    x = h.float().flatten(0, 1)[:, None].expand(-1, 3, -1)
    f = features_of(crosscoder.restricted(features), x, RL, "branch")
    expected = f @ crosscoder.W_dec[RL, features] / crosscoder.scales[RL]
    require(bool(expected.norm() > 0.01 * h.float().norm()), "no edited feature fires")
    change = (h.float() - edited(features).float()).flatten(0, 1)
    error = float((change - expected).norm() / expected.norm())
    require(error <= TOLERANCE[dtype], f"the edit differs from -f W_dec / s by {error:.1e}")
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    cases = {"plain": lambda: stream(network, ids, layer), "edited": lambda: edited(features)}
    seconds = interleaved(cases, 5, warm=1, wait=wait)
    over = ratio(seconds["edited"], seconds["plain"])
    text = f"{len(features)} features; relative error {error:.1e}; {over:.2f} times a plain pass"
    return Result(text, {"relative error": error, "over a plain pass": over})


def parts(machine: Machine) -> list[Part]:
    """Return scores in float32 on a thin model, and in bfloat16 at the machine's size."""
    device, full = machine.device, machine.full
    shape, name = (SHAPE, "Qwen3-0.6B's shape") if full else (THIN, "thin model")
    sizes = (2000, 2560, 32768) if full else (200, 64, 512)
    single, half = torch.float32, torch.bfloat16
    return [
        Part("likelihoods, thin model, fp32", partial(likelihoods, THIN, 16, single, device)),
        Part(f"likelihoods, {name}, bf16",
             partial(likelihoods, shape, 256 if full else 16, half, device)),
        Part("greedy answers, thin model, fp32", partial(sampling, THIN, 16, single, device)),
        Part(f"greedy answers, {name}, bf16",
             partial(sampling, shape, 256 if full else 16, half, device)),
        Part(f"feature scores, d_model {sizes[1]}, d_sparse {sizes[2]}",
             partial(feature_scores, *sizes, device)),
        Part("intervention, thin model, fp32", partial(intervention, THIN, 512, single, device)),
        Part(f"intervention, {name}, bf16",
             partial(intervention, shape, 8192 if full else 512, half, device)),
    ]  # fmt: skip
