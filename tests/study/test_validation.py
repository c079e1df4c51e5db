"""What preflight refuses, and how it says so, with every default filled in."""

from collections.abc import Iterator

import pytest
import yaml
from conftest import ROOT, Study

from crosslens.config.preflight import preflight
from crosslens.config.study_design import SYNTHETIC_POSITIONS, settings_of
from crosslens.io.errors import InputError

SCHEMA = ROOT / "schemas" / "config.schema.yaml"
PROBLEM = {"problem": "1 + 1", "answer": "2", "source": "here"}


@pytest.fixture(autouse=True)
def inside(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in the study's directory."""
    monkeypatch.chdir(study.folder)


def refusal(study: Study, gpus: int | None = None) -> str:
    """The message of the InputError: one line."""
    with pytest.raises(InputError) as error:
        preflight(study.config, SCHEMA, gpus)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("crosscoder.d_spars", 64, "crosscoder.d_spars: unknown key; did you mean d_sparse?"),
        ("crosscodr", {}, "crosscodr: unknown key; did you mean crosscoder?"),
        ("grpo.rollouts", "eight", "grpo.rollouts: found 'eight' (text), must be a whole number"),
        ("sft.learning_rate", "1e-3", "(write it as 0.001, without quotes)"),
        ("crosscoder.beta", -1, "crosscoder.beta: found -1"),
        ("sft", 5, "sft: found 5 (a whole number), must be a section of keys"),
        ("world.architecture", "gpt2", "must be one of qwen3, qwen2, llama"),
        ("activations.layer", 4, "activations.layer: 4 is out of range for families.tiny"),
        ("activations.layer", "last", "activations.layer: found 'last'"),
        ("traces.teacher", "teacher", "traces.teacher: there is no model directory teacher"),
        (
            "families.tiny.base",
            "no/model",
            "of the hub, give the key revision beside families.tiny",
        ),
        ("families.tiny.base", "a/b/c", "families.tiny.base: there is no model directory a/b/c"),
        ("families.tiny.base", "results/other/world/base", "would be at results/mini/world/base"),
        ("problems", "p.jsonl", "problems: found 'p.jsonl' (text), must be a section of keys"),
        ("problems.sources.world", "p.jsonl", "sources.world: there is no file p.jsonl"),
        ("problems.exclude.aime24", "p.jsonl", "exclude.aime24: there is no file p.jsonl"),
        ("problems.sources.world", {"files": "*"}, "problems.sources.world.dataset: missing"),
        ("problems.count", [9, 5], "problems.count: 9 is more than 5: write the least first"),
        ("traces.revision", "main", "traces.teacher: results/mini/world/teacher has a revision"),
        ("traces.options", {"top_p": 0.9}, "traces.options: top_p would be vLLM's"),
        ("traces.max_new_tokens", 321, "sft.max_length: 320 would cut traces"),
        ("sft.deepspeed", "zero3", "DeepSpeed needs GPUs, and resources.train_sft.gpu is 0"),
        ("grpo.tokens_per_device", 191, "191 does not hold one prompt and answer: 192 tokens"),
        ("families.tiny.overrides.sft.lr", 1, "families.tiny.overrides: sft.lr: unknown key"),
        ("families.tiny.overrides.grpo.mini_batch_size", 20, "20 does not divide grpo.batch_size"),
        ("evaluation.files.piqa", "p.jsonl", "evaluation.files.piqa: there is no file p.jsonl"),
        ("evaluation.files.piqua", "p.jsonl", "unknown task; did you mean piqa?"),
        ("corpus.sources.general", "g.jsonl", "corpus.sources.general: there is no file"),
        ("world.problems", 31, "31 problems are fewer than one grpo.batch_size: 32"),
        ("world.problems", 100, "100 problems make 3 steps of grpo.batch_size: 32"),
        ("problems.count", [1, 9], "problems are made, and problems.count promises 1 to 9"),
        ("world.model.head_dim", 7, "world.model.head_dim: 7 is odd, must be even"),
        ("grpo.mini_batch_size", 20, "20 does not divide grpo.batch_size: 32"),
        ("sft.micro_batch_size", 3, "3 does not divide sft.batch_size: 8"),
        (
            "grpo.options",
            {"custom_reward_function.path": "mine.py"},
            "grpo.options.custom_reward_function.path: the reward is fixed",
        ),
        (
            "families.tiny.overrides.grpo.options",
            {"reward.custom_reward_function.name": "mine"},
            "families.tiny.overrides: grpo.options.reward.custom_reward_function.name: the reward",
        ),
        ("grpo.device", "cuda", "grpo.device: cuda needs a GPU: set resources.train_grpo.gpu"),
        ("evaluation.math", {}, "evaluation.math: found {} (a section of keys), must be"),
        ("evaluation.unseen", [], "evaluation.unseen: found [] (a list), must be a list"),
        ("evaluation.tasks", ["openbookq"], "columns.py knows; did you mean openbookqa?"),
        ("evaluation.tasks", ["gsm8k"], "evaluation.tasks: gsm8k is none of the multiple-choice"),
        ("evaluation.unseen", ["aime24"], "evaluation.unseen: aime24 belongs into evaluation.math"),
        ("evaluation.unseen", ["sciq"], "sciq stands in evaluation.tasks as well"),
        ("families.second", {"label": "Mini-Qwen3", "base": "results/mini/world/base"}, "another"),
        ("corpus.tokens", 1000, "1000 tokens give each of activations.shards: 2 381 activations"),
        ("activations.shards", 10000, "shards: 10000 0 activations, fewer than crosscoder.batch"),
        ("crosscoder.batch_size", 1000000, "fewer than crosscoder.batch_size: 1000000"),
        ("activations.skip_positions", 128, "skip_positions: 128 leaves nothing of sequences"),
        (
            "corpus.tokens",
            360192,
            "take 200064 tokens from corpus.sources.reasoning",
        ),
        ("world.corpus_tokens.general", 169855, "take 169856 tokens from corpus.sources.general"),
        ("corpus.sequence_length", 513, "513 tokens are more than the model of families.tiny.base"),
        (
            "world.base.sequence_length",
            SYNTHETIC_POSITIONS + 1,
            "at least 64 and at most 512",
        ),
        (
            "world.teacher.sequence_length",
            SYNTHETIC_POSITIONS + 1,
            "at least 64 and at most 512",
        ),
        ("corpus.sequence_length", 65537, "found 65537 (a whole number), must be a whole number"),
        ("crosscoder.beta", float("nan"), "crosscoder.beta: found nan, must be a finite number"),
        ("interventions.amplify_to", float("inf"), "amplify_to: found inf, must be a finite"),
        ("figures.families", ["tiny", "tiny", "tin"], "unknown family tin; did you mean tiny?"),
        ("resources.train_crosscoders", {"gpu": 1}, "did you mean train_crosscoder?"),
    ],
)
def test_a_bad_value_is_refused(study: Study, key: str, value: object, said: str) -> None:
    study.change(key, value)
    assert said in refusal(study)


def test_a_missing_key_is_named(study: Study) -> None:
    del study.config["corpus"]["tokens"]
    assert "corpus.tokens: missing; Tokens of all training shards" in refusal(study)


def test_world_files_need_the_world_section(study: Study) -> None:
    del study.config["world"]
    assert "made by the section `world`, which is missing" in refusal(study)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("config.json", "families.tiny.base: there is no file base/config.json"),
        ("model.safetensors", "families.tiny.base: base has no weights"),
    ],
)
def test_an_incomplete_model_directory(study: Study, missing: str, said: str) -> None:
    (study.model("base") / missing).unlink()
    study.change("families.tiny.base", "base")
    assert said in refusal(study)


def test_a_layer_out_of_range_of_a_given_model(study: Study) -> None:
    study.model("base", layers=3)
    study.change("families.tiny.base", "base")
    study.change("activations.layer", 3)
    assert "whose model has 3 layers: 1 to 2, or middle" in refusal(study)


@pytest.mark.parametrize("key", ["base", "sft"])
def test_sequences_beyond_the_positions_of_a_given_model(study: Study, key: str) -> None:
    study.model("model", max_position_embeddings=127)
    study.change(f"families.tiny.{key}", "model" if key == "base" else ["model"])
    where = "base" if key == "base" else "sft-5"
    said = f"corpus.sequence_length: 128 tokens are more than the model of families.tiny.{where} "
    assert said + "has positions for (max_position_embeddings: 127)" in refusal(study)


@pytest.mark.parametrize(
    "positions", [{}, {"factor": 2.0}, {"original_max_position_embeddings": 64}]
)
def test_sequences_within_scaled_positions_of_a_given_model(study: Study, positions: dict) -> None:
    """127 scaled to 254, or 64 to 128; without any number there is nothing to hold against."""
    scaling = {"rope_type": "yarn", "factor": 2.0, **positions}
    study.model(
        "base", **({"max_position_embeddings": 127} if positions else {}), rope_scaling=scaling
    )
    study.change("families.tiny.base", "base")
    preflight(study.config, SCHEMA)


def test_the_schema_keeps_pretraining_within_the_worlds_positions() -> None:
    world = yaml.safe_load(SCHEMA.read_text())["properties"]["world"]["properties"]
    for model in ("base", "teacher"):
        length = world[model]["properties"]["sequence_length"]
        assert length["maximum"] == SYNTHETIC_POSITIONS


def test_tokenizers_that_differ(study: Study) -> None:
    study.model("base")
    study.model("results/mini/models/tiny/rl-3", words="a c")
    study.change("families.tiny.base", "base")
    said = "tokenizers of base and results/mini/models/tiny/rl-3 differ"
    assert said in refusal(study)


def test_a_benchmark_that_the_world_does_not_write(study: Study) -> None:
    study.config["evaluation"]["tasks"].append("arc_easy")
    study.change("evaluation.files.arc_easy", "results/mini/world/benchmarks/arc_easy.jsonl")
    assert "files.arc_easy: the world writes no arc_easy, only" in refusal(study)


def test_a_benchmark_file_without_a_column(study: Study) -> None:
    row = {"goal": "open it", "sol1": "key", "label": 0}
    study.change("evaluation.files.piqa", study.rows("piqa.jsonl", row))
    said = "piqa.jsonl lacks the column sol2; it has goal, sol1, label"
    assert said in refusal(study)


def test_a_later_row_of_a_benchmark_file_without_a_column(study: Study) -> None:
    whole = {"goal": "open it", "sol1": "key", "sol2": "spoon", "label": 0}
    rows = [whole, whole, {"goal": "shut it"}]
    study.change("evaluation.files.piqa", study.rows("piqa.jsonl", *rows))
    assert "piqa.jsonl, line 3, lacks the column sol1" in refusal(study)


def test_a_held_out_shard_without_a_sequence_of_each_source(study: Study) -> None:
    study.change("corpus.sequence_length", 1024)
    study.change("corpus.heldout_tokens", 2047)
    said = "heldout_tokens: 2047 hold no sequence of corpus.sequence_length: 1024 tokens from each"
    assert said in refusal(study)


def test_a_task_of_the_hub_with_an_accuracy(study: Study) -> None:
    study.config["evaluation"]["tasks"].append("social_iqa")
    preflight(study.config, SCHEMA)


def test_a_problems_file_without_a_column(study: Study) -> None:
    rows = [{"question": "1 + 1", "answer": "2", "source": "here"}] * 200
    study.change("problems.sources.world", study.rows("problems.jsonl", *rows))
    assert "problems.jsonl lacks the column problem" in refusal(study)


def test_fewer_problems_than_a_batch(study: Study) -> None:
    study.change("problems.sources.world", study.rows("problems.jsonl", *[PROBLEM] * 31))
    said = "sources.world: problems.jsonl: 31 problems are fewer than one grpo.batch_size: 32"
    assert said in refusal(study)


def test_a_file_that_is_not_json(study: Study) -> None:
    (study.folder / "piqa.jsonl").write_text("goal,sol1\n")
    study.change("evaluation.files.piqa", "piqa.jsonl")
    assert "the first line of piqa.jsonl is not a JSON object" in refusal(study)


def test_a_corpus_without_text(study: Study) -> None:
    study.change("corpus.sources.general", study.rows("general.jsonl", {"words": "a b"}))
    assert "general.jsonl lacks the column text or conversations" in refusal(study)


def test_trl_on_two_gpus(study: Study) -> None:
    study.change("grpo.engine", "trl")
    study.change("resources.train_grpo", {"gpu": 2})
    said = "grpo.engine: trl trains on one GPU, and resources.train_grpo.gpu is 2"
    assert said in refusal(study)


def test_a_gpu_limit_below_a_rules_need(study: Study) -> None:
    study.change("resources.train_grpo", {"gpu": 8})
    said = "resources.train_grpo.gpu: the rule needs 8 GPUs, and --resources gpu=4 allows 4"
    assert said in refusal(study, gpus=4)


def test_models_and_data_of_the_hub_are_not_looked_for(study: Study) -> None:
    """A dry run asks no network."""
    study.change("families.tiny", {"label": "A", "base": "org/model", "revision": "main"})
    study.config["traces"].update(teacher="org/teacher", revision="v1.0")
    source = {"dataset": "org/data", "revision": "0" * 40, "files": "train/*.parquet"}
    study.config["problems"].update(sources={"hub": source}, count=[200, 300])
    study.config["corpus"]["sources"]["general"] = source
    preflight(study.config, SCHEMA)
    study.config["problems"]["count"] = [100, 300]
    assert "problems.count: 100 problems make 3 steps of grpo.batch_size: 32" in refusal(study)


def test_a_familys_own_settings(study: Study) -> None:
    own = {"max_length": 400, "options": {"template": "qwen"}}
    study.change("families.tiny.overrides", {"sft": own})
    preflight(study.config, SCHEMA)
    merged = settings_of(study.config, "sft", "tiny")
    assert merged["max_length"] == 400 and merged["batch_size"] == 8
    assert merged["options"] == {**study.config["sft"]["options"], "template": "qwen"}
    assert settings_of(study.config, "grpo", "tiny") == study.config["grpo"]


def test_vocabularies_are_compared_not_files(study: Study) -> None:
    base, tuned = study.model("base"), study.model("results/mini/models/tiny/sft-1")
    text = (base / "tokenizer.json").read_text()
    (tuned / "tokenizer.json").write_text(text.replace(", ", ",\n"))
    study.change("families.tiny.base", "base")
    preflight(study.config, SCHEMA)


def test_defaults_are_filled_in(study: Study) -> None:
    del study.config["crosscoder"]["beta"], study.config["interventions"]
    preflight(study.config, SCHEMA)
    assert study.config["crosscoder"]["beta"] == 2.0
    assert study.config["interventions"] == {"amplify_to": 3.0, "random_sets": 5}


@pytest.mark.parametrize("file", ["config.yaml", "mini.yaml", "tests/config/tiny.yaml"])
def test_our_own_configurations_hold_every_key(file: str) -> None:
    """Each states every key of the schema, so that nobody has to look for one."""
    config = yaml.safe_load((ROOT / file).read_text())
    preflight(config, SCHEMA)
    stated = yaml.safe_load((ROOT / file).read_text())
    stated.setdefault("resources", {})
    assert config == stated


def parts(part: dict, path: str = "") -> Iterator[tuple[str, dict]]:
    """(path, schema) of every key of the schema."""
    for key, below in part.get("properties", {}).items():
        yield f"{path}{key}", below
        yield from parts(below, f"{path}{key}.")
    for word in ("items", "additionalProperties", "propertyNames"):
        if isinstance(part.get(word), dict):
            yield f"{path}<{word}>", part[word]
            yield from parts(part[word], f"{path}<{word}>.")


@pytest.mark.parametrize(("key", "part"), list(parts(yaml.safe_load(SCHEMA.read_text()))))
def test_every_key_has_a_description_and_a_range(key: str, part: dict) -> None:
    definitions = yaml.safe_load(SCHEMA.read_text())["$defs"]
    part = {**definitions.get(part.get("$ref", "").rpartition("/")[2], {}), **part}
    assert part["description"].endswith(".")
    kinds = {"integer": {"minimum"}, "number": {"minimum", "exclusiveMinimum"}}
    kind = part.get("type", "name")
    kind = kind[-1] if isinstance(kind, list) else kind
    if kind == "object":
        assert part.get("additionalProperties") is False or "propertyNames" in part
    elif kind in kinds:
        assert kinds[kind] & part.keys() and {"maximum", "exclusiveMaximum"} & part.keys()
    elif kind == "string" and not key.endswith("<items>"):
        assert {"enum", "pattern", "minLength"} & part.keys()
