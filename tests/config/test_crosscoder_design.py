"""Names of crosscoders: what each asks for, which there are, and who reads a model."""

import re

import pytest

from crosslens.config import crosscoder_design as designs
from crosslens.config.crosscoder_design import Design
from crosslens.config.sections import BatchTopKConfig, CrosscoderConfig, FamilyConfig

FAMILY = FamilyConfig(label="A", base="b")
OTHERS = ["swapped", "noise", "self", "differences", "drift_matched", "checkpoints"]
ALL = ["batch_topk", "batch_topk_seeds", *OTHERS]


def settings(*evidence, extra_seeds=2):
    return CrosscoderConfig(extra_seeds=extra_seeds, evidence=list(evidence))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sft-3", Design(["base", "sft-3"], "activations", "relu_l1", None)),
        ("trio-swapped", Design(["base", "sft-5", "rl-5"], "swapped", "relu_l1", None)),
        ("rl-5-topk", Design(["base", "rl-5"], "activations", "batch_topk", "rl-5")),
        ("sft-matched", Design(["base", "sft-matched"], "activations", "relu_l1", None)),
        ("rl-5-differences", Design(["base", "rl-5"], "differences", "relu_l1", None)),
        (
            "rl-checkpoints",
            Design(["base", *(f"rl-{k}" for k in range(1, 6))], "activations", "relu_l1", None),
        ),
    ],
)
def test_a_name_says_what_a_crosscoder_is_trained_on(name, expected):
    assert designs.design(name, FAMILY, settings()) == expected


def test_batch_topk_with_a_number_follows_no_other_crosscoder():
    asked = settings("batch_topk").model_copy(update={"batch_topk": BatchTopKConfig(k=100)})
    expected = Design(["base", "rl-5"], "activations", "batch_topk", None)
    assert designs.design("rl-5-topk", FAMILY, asked) == expected


def test_each_seed_has_its_own_order_of_rows():
    first, second = (
        designs.trained_as(f"rl-5-topk-r{r}", FAMILY, settings("batch_topk"), 7) for r in (0, 1)
    )
    assert (first["seed"], first["in_order"], first["reference"]) == (7, True, "rl-5-r0")
    assert (second["seed"], second["in_order"], second["reference"]) == (8, False, "rl-5-r1")


def test_every_name_can_be_part_of_a_path():
    names = designs.crosscoders(FAMILY, settings(*ALL))
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(designs.PATTERN, designs.base_name(name)), name


def test_evidence_adds_crosscoders_of_one_seed_and_batch_topk_of_every_seed_if_asked():
    plain = designs.crosscoders(FAMILY, settings())
    assert len(plain) == 10 + 2 * 2 + 3
    one = designs.crosscoders(FAMILY, settings("batch_topk", *OTHERS))
    assert one[: len(plain)] == plain
    assert len(one) - len(plain) == 3 * 3 + 1 + 2 + 1 + 2
    every = designs.crosscoders(FAMILY, settings(*ALL))
    further = {f"{name}-topk-r{r}" for name in ("sft-5", "rl-5", "trio") for r in (1, 2)}
    assert set(every) - set(one) == further


def test_seeds_of_batch_topk_need_batch_topk():
    with pytest.raises(ValueError, match="evidence: batch_topk_seeds requires batch_topk"):
        settings("batch_topk_seeds")


def test_interventions_follow_every_seed_and_the_other_activation():
    expected = ["trio-r0", "trio-r1", "trio-topk-r0"]
    assert designs.trios(settings("batch_topk", "swapped", extra_seeds=1)) == expected
    every = settings("batch_topk", "batch_topk_seeds", extra_seeds=1)
    assert designs.trios(every) == [*expected, "trio-topk-r1"]


def test_scores_are_of_two_models_or_of_the_trio():
    asked = settings(*ALL, extra_seeds=0)
    pairs, trios = designs.with_nrn(FAMILY, asked), designs.with_mas(FAMILY, asked)
    assert trios == ["trio-r0", "trio-topk-r0", "trio-swapped-r0", "trio-noise-r0"]
    assert len(pairs) == 10 + 3 * 2 + 2
    assert {"sft-5-swapped-r0", "rl-5-self-r0", "sft-matched-r0"} <= set(pairs)


def test_a_family_of_one_checkpoint_has_none_over_checkpoints():
    family = FamilyConfig(label="A", base="b", sft=["s"], rl=["r"] * 5)
    assert designs.over_checkpoints(family, settings("checkpoints")) == ["rl-checkpoints-r0"]


def test_a_shard_of_the_matched_model_has_one_reader():
    asked = settings("drift_matched", "swapped", "checkpoints", extra_seeds=1)
    assert designs.extracted(FAMILY, asked)[-1] == "sft-matched"
    read = designs.group_models(FAMILY, asked)

    def readers(variant):
        return {group for group, models in read.items() if variant in models}

    assert readers("sft-matched") == {"matched"}
    assert readers("rl-4") == {"rl", "checkpoints"}
    assert readers("rl-5") == {"rl", "trio", "seed-1", "swapped", "checkpoints"}


def test_every_crosscoder_is_in_one_group_and_evidence_leaves_the_others_as_they_are():
    plain, asked = settings(extra_seeds=2), settings(*ALL, extra_seeds=2)
    groups = designs.groups(FAMILY, asked)
    members = [directory for group in groups.values() for directory in group]
    assert sorted(members) == sorted(designs.crosscoders(FAMILY, asked))
    assert designs.groups(FAMILY, plain).items() <= groups.items()
    assert groups["seed-2"] == ["sft-5-r2", "rl-5-r2", "trio-r2"]
    one = designs.groups(FAMILY, settings("batch_topk", *OTHERS))
    assert one.items() <= groups.items() and set(groups) - set(one) == {"topk-1", "topk-2"}
    assert all(re.fullmatch(designs.GROUP, name) for name in groups)


def test_no_crosscoder_is_in_the_group_of_its_reference():
    """A job reads the logs of its references: in one group, it would wait for itself."""
    asked = settings(*ALL)
    references = {
        designs.group_of(name): designs.group_of(found["reference"])
        for name in designs.crosscoders(FAMILY, asked)
        if (found := designs.trained_as(name, FAMILY, asked, 0))["reference"]
        and found["reference"].startswith("trio")
    }
    assert references == {"topk": "trio", "topk-1": "seed-1", "topk-2": "seed-2"}
    for group, members in designs.groups(FAMILY, asked).items():
        plans = [designs.trained_as(name, FAMILY, asked, 0) for name in members]
        assert not {found["reference"] for found in plans} & set(members), group


def test_a_group_reads_base_first():
    read = designs.group_models(FAMILY, settings(extra_seeds=1))
    assert read["rl"] == ["base", *(f"rl-{k}" for k in range(1, 6))]
    assert read["seed-1"] == ["base", "sft-5", "rl-5"]
