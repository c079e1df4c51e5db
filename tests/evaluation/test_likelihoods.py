"""Choices that share their prompt get the log-probabilities of separate sequences."""

import pytest
import torch
from lm_eval.models.huggingface import HFLM
from tiny_models import letter_tokenizer, tiny_network
from transformers import AutoConfig, AutoModelForCausalLM

from crosslens.evaluation import token_trees
from crosslens.evaluation.harness import Model
from crosslens.evaluation.likelihoods import log_likelihoods, make_trees, trees_agree
from crosslens.evaluation.token_trees import PADDING, as_tree, make_batch, make_tree, tree_size

VOCABULARY = 40
SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
}
GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
ARCHITECTURES = {
    "qwen2": {},
    "qwen3": {},
    "llama": {"tie_word_embeddings": True},
    "mistral": {"sliding_window": 6},  # shorter than a tree: then each choice has a row of its own
    "gemma2": {"final_logit_softcapping": 2.0},
    "gemma3_text": {},
    "olmo2": {},
    "phi3": {"pad_token_id": 0},
    "gpt_neox": {},
    "gpt2": GPT2,
}


def random_network(architecture: str) -> torch.nn.Module:
    """Return a network with weights large enough for logits that differ."""
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCABULARY, "initializer_range": 0.3}
    sizes |= {} if architecture == "gpt2" else SIZES
    options = sizes | ARCHITECTURES.get(architecture, {})
    config = AutoConfig.for_model(architecture, **options)
    return AutoModelForCausalLM.from_config(config).eval()


def random_requests(documents: int, choices: int = 4) -> list:
    """Return the requests of documents whose choices are of one to five tokens."""
    generator = torch.Generator().manual_seed(1)

    def tokens(count: int) -> list[int]:
        return torch.randint(3, VOCABULARY, (count,), generator=generator).tolist()

    requests = []
    for document in range(documents):
        context = tokens(3 + document)
        for choice in range(choices):
            names = (str(document), str(choice))
            requests.append((names, context, tokens(1 + (3 * choice + document) % 5)))
    return requests


def plain(network: torch.nn.Module, context: list[int], choice: list[int]) -> tuple[float, bool]:
    """Score one sequence by the network as it is."""
    ids = torch.tensor([context + choice])
    with torch.no_grad():
        log_probs = network(input_ids=ids[:, :-1]).logits[0, -len(choice) :].log_softmax(-1)
    targets = torch.tensor(choice)
    greedy = bool((log_probs.argmax(-1) == targets).all())
    return log_probs.gather(1, targets[:, None]).sum().item(), greedy


def check(network: torch.nn.Module, requests: list, batch_size: int) -> None:
    scored = log_likelihoods(network, requests, max_length=64, batch_size=batch_size)
    found = {index: answer for index, *answer in scored}
    for index, (_, context, choice) in enumerate(requests):
        log_prob, greedy = plain(network, context, choice)
        assert found[index] == [pytest.approx(log_prob, abs=1e-4), greedy]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_tree_scores_as_separate_sequences_do(architecture: str) -> None:
    network, requests = random_network(architecture), random_requests(5)
    assert trees_agree(network, requests, 64)
    check(network, requests, batch_size=2)


def test_logits_are_computed_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network("llama")
    head, most = network.lm_head, []
    head.register_forward_hook(lambda module, args, logits: most.append(logits.numel()))
    monkeypatch.setattr(token_trees, "MAX_LOGITS", 3 * VOCABULARY)
    requests = random_requests(5)
    found = list(log_likelihoods(network, requests, max_length=64, batch_size=5))
    assert max(most) == 3 * VOCABULARY and len(most) > 4
    monkeypatch.undo()
    for one, other in zip(
        found, log_likelihoods(network, requests, max_length=64, batch_size=5), strict=True
    ):
        assert one == (other[0], pytest.approx(other[1], abs=1e-5), other[2])


@pytest.mark.parametrize("architecture", ["opt", "bloom"])
def test_an_architecture_without_such_masks_is_left_to_the_harness(architecture: str) -> None:
    network = random_network(architecture)
    requests = random_requests(2)
    assert not trees_agree(network, requests, 64)
    options = {
        "pretrained": network,
        "tokenizer": letter_tokenizer(),
        "max_length": 64,
        "batch_size": 4,
    }
    theirs = HFLM(**options)._loglikelihood_tokens(requests)
    assert Model(**options)._loglikelihood_tokens(requests) == theirs


def test_other_logits_are_noticed() -> None:
    network = random_network("llama")
    body = network.model.forward

    def blind(**inputs):
        """Ignore the mask, as an architecture might that builds its own."""
        inputs.pop("attention_mask", None)
        return body(**inputs)

    network.model.forward = blind
    assert not trees_agree(network, random_requests(2), 64)


@pytest.mark.parametrize("max_length", [64, 4])
def test_the_model_scores_as_the_harness_does(max_length: int) -> None:
    options = {"tokenizer": letter_tokenizer(), "max_length": max_length, "batch_size": 3}
    requests = [(names, c[:7], t[:3]) for names, c, t in random_requests(6)]
    requests = [(n, [i % 29 for i in c], [i % 29 for i in t]) for n, c, t in requests]
    ours = Model(pretrained=tiny_network(), **options)._loglikelihood_tokens(requests)
    theirs = HFLM(pretrained=tiny_network(), **options)._loglikelihood_tokens(requests)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]
    assert [p for p, _ in ours] == pytest.approx([p for p, _ in theirs], abs=1e-4)


def test_a_tree_by_hand() -> None:
    tree = make_tree([([1, 2], [3]), ([1, 2], [3, 4]), ([1, 2], [5, 6, 7])], max_length=64)
    assert tree == ([1, 2], [[], [3], [5, 6]], [1, 1, 1], [[3], [3, 4], [5, 6, 7]])
    assert tree_size(tree) == 5
    batch = make_batch([tree, make_tree([([1], [2, 3])], max_length=64)])
    assert batch.ids.tolist() == [[1, 2, 3, 5, 6], [1, 2, 0, 0, 0]]
    assert batch.positions.tolist() == [[0, 1, 2, 2, 3], [0, 1, 0, 0, 0]]
    assert batch.branch[0].tolist() == [-1, -1, 1, 2, 2]
    assert batch.branch[1].tolist() == [-1, -1, PADDING, PADDING, PADDING]
    assert batch.nodes.tolist() == [1, 2, 3, 4, 5, 6]  # every node that predicts, each once
    assert batch.targets.tolist() == [3, 3, 4, 5, 6, 7, 2, 3]
    assert batch.nodes[batch.rows].tolist() == [1, 1, 2, 1, 3, 4, 5, 6]
    sees = batch.mask(torch.float32)[0, 0] == 0
    assert sees[4].tolist() == [True, True, False, True, True]
    assert sees[2].tolist() == [True, True, True, False, False]


def test_contexts_group_choices() -> None:
    groups, trees = make_trees(random_network("llama"), random_requests(2, choices=3), 64)
    assert groups == [[0, 1, 2], [3, 4, 5]]
    assert [len(tree.prompt) for tree in trees] == [3, 4]


def test_a_tree_shares_the_longest_common_beginning() -> None:
    assert as_tree([[1, 2, 3], [1, 2], [1, 2, 4, 5]]) == ([1, 2], [[3], [], [4, 5]])
    assert as_tree([[1, 2], [1, 2]]) == ([1, 2], [[], []])
