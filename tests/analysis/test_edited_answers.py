"""Edits of kept states give what lm-eval gives when the same edit runs inside the whole model."""

import json

import numpy as np
import pytest
import torch
from lm_eval.models.huggingface import HFLM
from tiny_models import letter_tokenizer, tiny_network

from crosslens.analysis.edited_answers import Companions, EditedModel
from crosslens.analysis.edits import ZERO, Dose, Editor, patch, scaled
from crosslens.analysis.interventions import intervene
from crosslens.config.sections import EvaluationConfig
from crosslens.crosscoder.model import Crosscoder
from crosslens.evaluation.harness import run, tasks_of
from crosslens.evaluation.harness_questions import Recorder, questions_of
from crosslens.evaluation.split_model import SplitModel

LAYER, INDEX, SKIP = 2, 0, 1
FEATURES = [1, 4]
DOCS = [
    {
        "id": str(i),
        "question_stem": " ".join("abc"[: i % 3] + letter),
        "choices": {"text": ["c d", "e", "f g"], "label": ["A", "B", "C"]},
        "answerKey": "ABC"[i % 3],
    }
    for i, letter in enumerate("bcdefghijklmnopqrstuvwxyz")
]
PARTS = [("openbookqa", "AB"[i % 2]) for i in range(len(DOCS))]


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> EvaluationConfig:
    file = tmp_path_factory.mktemp("tasks") / "openbookqa.jsonl"
    file.write_text("".join(json.dumps(doc) + "\n" for doc in DOCS))
    return EvaluationConfig(math={}, files={"openbookqa": str(file)})


@pytest.fixture(scope="module")
def questions(settings) -> list:
    recorder = Recorder(pretrained=tiny_network(), tokenizer=letter_tokenizer(), max_length=64)
    with tasks_of(settings, ["openbookqa"]) as tasks:
        return questions_of(recorder, "openbookqa", tasks["openbookqa"])


@pytest.fixture(scope="module")
def crosscoder() -> Crosscoder:
    torch.manual_seed(0)
    crosscoder = Crosscoder(3, 16, 8, decoder_norm=3.0, metadata={})
    crosscoder.b_enc.data.normal_()
    return crosscoder.requires_grad_(False)


def edited_model(questions, crosscoder, **options) -> EditedModel:
    options = {"batch_size": 7, "skip_positions": SKIP, "sink_threshold": 1.2, **options}
    model = SplitModel(tiny_network(), LAYER)
    return EditedModel(model, crosscoder, INDEX, questions, PARTS, **options)


@pytest.fixture(scope="module")
def edited(questions, crosscoder) -> EditedModel:
    return edited_model(questions, crosscoder)


@pytest.mark.parametrize(
    ("readout", "dose"),
    [("branch", ZERO), ("swap", Dose("clamp", 2.0)), ("branch", Dose("set", 9.0))],
)
def test_the_same_edit_inside_the_harness(
    settings, edited, crosscoder, readout: str, dose: Dose
) -> None:
    network, units = tiny_network(), [1.0, 2.0]
    harness = HFLM(pretrained=network, tokenizer=letter_tokenizer(), batch_size=4, max_length=64)
    options = {"index": INDEX, "features": FEATURES, "dose": dose, "layer": LAYER}
    options |= {"skip_positions": SKIP, "sink_threshold": 1.2, "units": units}
    with (
        tasks_of(settings, ["openbookqa"]) as tasks,
        intervene(network, crosscoder, readout=readout, **options),
    ):
        samples = run(harness, tasks)["openbookqa"]
    edit = Editor(crosscoder, INDEX, readout).edit(FEATURES, dose, units)
    found = edited.outcome(dict.fromkeys(set(PARTS), edit))
    theirs = np.array([[float(resps[0][0]) for resps in s["resps"]] for s in samples])
    right = np.array(
        [s["target"] if isinstance(s["target"], int) else int(s["target"]) for s in samples]
    )
    rows = np.arange(len(right))
    best_other = np.where(np.arange(3) == right[:, None], -np.inf, theirs).max(axis=1)
    np.testing.assert_array_equal(found.choice, theirs.argmax(axis=1))
    np.testing.assert_allclose(found.margin, theirs[rows, right] - best_other, atol=2e-4)
    assert (np.abs(found.margin - edited.unedited.margin) > 1e-3).any()


def test_the_identity_is_the_unedited_answer(edited, crosscoder) -> None:
    editor = Editor(crosscoder, INDEX, "branch")
    same = editor.edit(FEATURES, Dose("multiply", 1.0), [0.0, 0.0])
    found = edited.outcome(dict.fromkeys(set(PARTS), same))
    np.testing.assert_array_equal(found.choice, edited.unedited.choice)
    np.testing.assert_array_equal(found.margin, edited.unedited.margin)


def test_only_a_parts_questions_are_edited(edited, crosscoder) -> None:
    edit = Editor(crosscoder, INDEX, "branch").edit(FEATURES, Dose("set", 9.0), [0.0, 0.0])
    found = edited.outcome({PARTS[0]: edit})
    changed = found.margin != edited.unedited.margin
    assert changed[::2].any() and not changed[1::2].any()


def test_rescaling_a_feature_changes_no_answer(questions, crosscoder, edited) -> None:
    again = Crosscoder.of({k: v.clone() for k, v in crosscoder.state_dict().items()}, {})
    again.W_enc.data[:, :, 1] *= 7
    again.b_enc.data[1] *= 7
    again.W_dec.data[:, 1] /= 7
    for dose in (ZERO, Dose("multiply", 3.0), Dose("clamp", 2.0)):
        found = [
            edited.outcome(dict.fromkeys(set(PARTS), Editor(c, INDEX, "swap").edit([1], dose, [u])))
            for c, u in ((crosscoder, 1.5), (again, 7 * 1.5))
        ]
        np.testing.assert_array_equal(found[0].choice, found[1].choice)
        np.testing.assert_allclose(found[0].margin, found[1].margin, atol=1e-4)


def test_sizes_are_those_of_the_edits(edited, crosscoder) -> None:
    edit = Editor(crosscoder, INDEX, "branch").edit(FEATURES, Dose("set", 9.0), [0.0, 0.0])
    sizes = edited.sizes({PARTS[0]: edit, PARTS[1]: scaled(edit, 2.0)})
    single = edited.sizes({PARTS[1]: edit})[PARTS[1]]
    assert sizes[PARTS[1]].edit == pytest.approx(2 * single.edit)
    assert sizes[PARTS[1]].state == single.state and single.positions > 0
    total = sizes[PARTS[0]] + sizes[PARTS[1]]
    positions = sum(int((p.batch.branch != -2).sum()) for p in edited.prepared)
    assert 0 < total.positions <= positions - len(DOCS), "not the first of any question"


def test_patching_all_positions_runs_the_other_models_lower_half(questions, crosscoder) -> None:
    other = SplitModel(tiny_network(seed=1), LAYER)
    options = {"skip_positions": 0, "sink_threshold": float("inf")}
    edited = edited_model(
        questions, crosscoder, companions=Companions(partner=other.states), **options
    )
    found = edited.outcome(dict.fromkeys(set(PARTS), patch))
    mixed = tiny_network(seed=1)
    mixed.model.layers[LAYER] = tiny_network().model.layers[LAYER]
    mixed.model.norm, mixed.lm_head = tiny_network().model.norm, tiny_network().lm_head
    alone = EditedModel(
        SplitModel(mixed, LAYER), crosscoder, INDEX, questions, PARTS, batch_size=7, **options
    )
    np.testing.assert_allclose(found.margin, alone.unedited.margin, atol=1e-4)


def test_joint_reads_all_models(questions, crosscoder) -> None:
    models = [SplitModel(tiny_network(seed=i), LAYER) for i in range(3)]

    def everything(batch):
        return torch.stack([m.states(batch).flatten(0, 1) for m in models], dim=1)

    edited = edited_model(questions, crosscoder, companions=Companions(all_models=everything))
    prepared = edited.prepared[0]
    torch.testing.assert_close(
        prepared.x[:, 0], prepared.states.flatten(0, 1)[prepared.nodes], atol=1e-5, rtol=1e-4
    )
    assert not torch.allclose(prepared.x[:, 0], prepared.x[:, 2])
