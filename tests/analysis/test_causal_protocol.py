"""Which arms run, on which questions, by edits of what size."""

import numpy as np
import pytest
import torch
from planted import (
    AMPLIFY,
    EXTENT,
    HELD_OUT,
    RAISED,
    TASKS,
    benchmark_of,
    chosen_of,
    edited_model,
    make_world,
    run_arms,
)

from crosslens.analysis.arms import (
    DIRECTIONS,
    MOST,
    Arm,
    Extent,
    arms,
    curve_doses,
    extent_of,
    is_fair,
    place_of,
)
from crosslens.analysis.causal_protocol import ArmRunner, arrays_of, match
from crosslens.analysis.controls import PRIMARY
from crosslens.analysis.edited_answers import Size
from crosslens.analysis.edits import ZERO, Dose, Editor
from crosslens.analysis.outcomes import read_run
from crosslens.config.sections import CausalProtocolConfig
from crosslens.io.records import write_arrays, write_json

PAPER = Dose("set", 3.0)


@pytest.fixture(scope="module")
def world():
    return make_world("cause", seed=1, questions=20)


@pytest.fixture(scope="module")
def edited(world):
    return edited_model(world, "base")


@pytest.fixture(scope="module")
def chosen(world, edited) -> dict:
    return chosen_of(
        world, benchmark_of(world, {"base": edited, "rl": edited_model(world, "rl")}), 9
    )


def listed(chosen: dict, extent: Extent = EXTENT) -> list:
    return list(arms(chosen, TASKS, HELD_OUT, dose=AMPLIFY, paper_dose=PAPER, extent=extent))


@pytest.fixture(scope="module")
def results(world, edited, chosen) -> list:
    wanted = [arm for arm in listed(chosen) if arm.kind != "patch"]
    return run_arms(world, "base", edited, chosen, wanted)


def test_a_question_is_edited_by_what_was_selected_without_it() -> None:
    assert place_of("protocol", ("t0", "A"), TASKS) == "B"
    assert place_of("protocol", ("t0", "B"), TASKS) == "A"
    assert place_of("protocol", ("t3", "A"), TASKS) == "all"
    assert place_of("leave_out", ("t1", "B"), TASKS) == "without-t1"
    assert place_of("leave_out", ("t3", "B"), TASKS) is None
    assert place_of("paper", ("t3", "B"), TASKS) == "t3"


def test_the_arms_of_a_full_run(chosen) -> None:
    found = listed(chosen)

    def count(**wanted) -> int:
        return sum(all(getattr(arm, k) == v for k, v in wanted.items()) for arm in found)

    primary = {"design": "protocol", "features": PRIMARY, "dose": AMPLIFY}
    assert count(**primary, kind="selected") == 1 and count(**primary, kind="matched") == 9
    assert all(count(**primary, kind=kind) == 1 for kind in (*DIRECTIONS, "next_best", "sft"))
    assert count(**primary, kind="random_direction") == 4
    assert count(design="leave_out", kind="matched") == 4
    for dose in (Dose("multiply", 0.0), Dose("multiply", 2.0), Dose("clamp", 0.5)):
        assert count(dose=dose, design="protocol", kind="matched") == 2
    assert count(kind="patch") == 1
    for kind in ("intersection", "majority", "per_task"):
        assert count(design="paper", features=kind, kind="selected", dose=PAPER) == 1
        assert count(design="paper", features=kind, kind="random_alive") == 2
    assert found[0].kind == "selected", "a set comes before its controls"


def test_the_arms_of_a_further_seed(chosen) -> None:
    found = listed(chosen, EXTENT._replace(full=False))
    kinds = [(arm.design, arm.kind) for arm in found]
    assert kinds.count(("protocol", "matched")) == 9 and len(kinds) == 1 + 9 + 3
    assert kinds.count(("paper", "selected")) == 3


def test_only_the_first_seed_of_base_and_rl_runs_in_full() -> None:
    protocol = CausalProtocolConfig(matched_sets=9, exploratory_sets=4)
    base, sft, rl = (extent_of(protocol, model, full=True) for model in range(3))
    other = extent_of(protocol, 2, full=False)
    assert base == rl and base.full and base.matched == 9
    assert not sft.full and sft.matched == 4
    assert other == base._replace(full=False)


def test_a_run_is_read_as_it_was_written(results, edited, tmp_path) -> None:
    records = tmp_path / "trio-r1" / "rl-5" / "arms.json"
    outcomes = records.with_name("outcomes.npz")
    records.parent.mkdir(parents=True)
    write_json(records, [result.record() for result in results])
    write_arrays(outcomes, arrays_of(results, edited.unedited))
    run = read_run(records, outcomes)
    assert (run.replicate, run.target, run.other) == (1, "rl", "base")
    assert run.arms == [result.record() for result in results]
    np.testing.assert_array_equal(run.margin, [result.outcome.margin for result in results])
    np.testing.assert_array_equal(run.before, edited.unedited.choice)


def test_the_primary_dose_is_no_second_time_on_the_curve() -> None:
    assert curve_doses(EXTENT, ZERO) == [Dose("multiply", 2.0), Dose("clamp", 0.5)]


def test_controls_are_scaled_to_the_sets_size(results) -> None:
    sizes = {
        kind: [
            r.size
            for r in results
            if (r.arm.kind, r.arm.dose) == (kind, AMPLIFY)
            and r.arm.design == "protocol"
            and r.arm.features == PRIMARY
        ]
        for kind in ("selected", "matched", "random_direction", *DIRECTIONS)
    }
    own = sizes.pop("selected")[0]
    assert own > 0
    for kind, found in sizes.items():
        np.testing.assert_allclose(found, own, rtol=1e-3, err_msg=kind)


def test_scaling_has_its_limits() -> None:
    def size(edit: float) -> Size:
        return Size(edit, 1.0, 1)

    wanted = {"A": size(2.0), "B": size(2.0), "C": size(2.0), "D": size(0.0)}
    sizes = {"A": size(1.0), "B": size(0.1), "C": size(80.0), "D": size(1.0), "E": size(1.0)}
    found = match(wanted, sizes)
    assert found == {"A": 2.0, "B": MOST, "C": 1 / MOST, "D": 0.0, "E": 0.0}


def test_an_edit_that_could_not_be_scaled_is_no_fair_control() -> None:
    arm = {
        "design": "protocol",
        "n_features": {"A": 2, "B": 2, "C": 2, "D": 0},
        "factors": {"A": 2.0, "B": MOST, "C": 1 / MOST, "D": 1.0},
    }
    assert [is_fair(arm, place) for place in ("A", "B", "C", "D", "E")] == [True, *[False] * 4]
    assert is_fair({"design": "everywhere"}, "all"), "the whole state is patched everywhere"


def test_features_of_sft_are_clamped_in_units_of_sft(world, edited) -> None:
    chosen = {"protocol": {"A": {"units": {"8": 1.5}, "sft_units": {"7": 2.0}}}}
    editor = Editor(world.crosscoder, 0, "branch")
    runner = ArmRunner(edited, editor, chosen, TASKS, steering={}, seed=0)
    own = Arm("protocol", PRIMARY, "selected", AMPLIFY, 0, {"A": [8]})
    sft = own._replace(kind="sft", sets={"A": [7]})
    assert runner.units_of(own, "A") == [1.5] and runner.units_of(sft, "A") == [2.0]
    assert runner.units_of(sft._replace(dose=ZERO), "A") == [0.0]
    with pytest.raises(KeyError):
        runner.units_of(own._replace(sets={"A": [7]}), "A")


def test_an_arm_edits_its_own_questions_only(world, edited, chosen) -> None:
    own = {
        **chosen,
        "protocol": {**chosen["protocol"], "A": {**chosen["protocol"]["A"], PRIMARY: []}},
    }
    primary = listed(own)[0]
    found = run_arms(world, "base", edited, own, [primary])[0]
    changed = found.outcome.margin != edited.unedited.margin
    edited = {
        (world.questions[i].task in HELD_OUT, world.halves[i]) for i in np.flatnonzero(changed)
    }
    assert edited == {(True, "A"), (True, "B"), (False, "A")}, "B is edited by what A selected"


def test_the_cause_and_its_direction_move_margins_more_than_controls(results, edited) -> None:
    moved = {
        r.arm.kind: (r.outcome.margin - edited.unedited.margin).mean()
        for r in results
        if r.arm.dose == AMPLIFY
        and (r.arm.design, r.arm.features, r.arm.draw) == ("protocol", PRIMARY, 0)
    }
    controls = [
        (r.outcome.margin - edited.unedited.margin).mean()
        for r in results
        if (r.arm.dose, r.arm.features, r.arm.kind) == (AMPLIFY, PRIMARY, "matched")
    ]
    assert moved["selected"] > 0.1 > max(controls)
    assert moved["steering"] > max(controls)


def test_the_records_say_what_was_edited(results) -> None:
    record = next(r for r in results if r.arm.kind == "matched").record()
    assert record["n_features"] == {"all": RAISED, "A": RAISED, "B": RAISED}
    assert record["dose"] == "clamp 1" and set(record["factors"]) == {"all", "A", "B"}
    assert torch.tensor(record["size"]) > 0
