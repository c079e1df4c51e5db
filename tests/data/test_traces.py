"""The teacher's traces: sampled, graded, and written for both engines."""

import shutil
import sys
from pathlib import Path

import pyarrow.parquet
import pytest
import torch
from tiny_models import tiny_model, tiny_problems, tiny_traces
from transformers import AutoModelForCausalLM, PreTrainedModel

from crosslens.config.sections import TracesConfig
from crosslens.data import teacher, traces
from crosslens.data.hub import model_identity
from crosslens.io.errors import InputError
from crosslens.io.records import read_json, read_jsonl, write_jsonl
from crosslens.io.row_journal import RowJournal
from crosslens.models import loading
from crosslens.models.tokenizer import load_tokenizer

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = TracesConfig(teacher="teacher")


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "teacher")


@pytest.fixture
def script(monkeypatch):
    """Import a script of scripts/ by name."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return lambda name: __import__(name)


def filtered(script, tmp_path: Path, sampled: list[dict], problems: list[dict], **changes) -> Path:
    write_jsonl(tmp_path / "traces.jsonl", sampled)
    write_jsonl(tmp_path / "problems.jsonl", problems)
    script("filter_traces").main(
        **{
            "traces": [tmp_path / "traces.jsonl"],
            "problems": tmp_path / "problems.jsonl",
            "sft": tmp_path / "sft",
            "grpo": tmp_path / "grpo.parquet",
            "manifest": tmp_path / "manifest.json",
            "settings": SETTINGS,
            "batch_size": 4,
        }
        | changes
    )
    return tmp_path


def test_greedy_sampling_equals_transformers_own(model: Path) -> None:
    tokenizer = load_tokenizer(model)
    network = AutoModelForCausalLM.from_pretrained(model).eval()
    messages = ["what is 1 plus 2 ?", "what is 3 ?", "the answer is 4 so what is 5 plus 6 ?"]
    draw = teacher.sampler(model, backend="transformers", temperature=0.0, max_new_tokens=12)
    ours = draw(messages, 0)
    for message, answer in zip(messages, ours, strict=True):
        ids = torch.tensor([teacher.prompt_ids(tokenizer, message)])
        theirs = network.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False
        )
        new = theirs[0, ids.shape[1] :]
        assert answer.text == tokenizer.decode(new, skip_special_tokens=True)
        assert answer.tokens == len(new)
        assert answer.ended == (new[-1].item() == tokenizer.eos_token_id)


@pytest.fixture
def generate(script, model: Path, tmp_path: Path):
    """Sample the traces of six problems to a file."""
    write_jsonl(tmp_path / "problems.jsonl", tiny_problems(6))
    settings = TracesConfig(teacher=str(model), max_new_tokens=10, batch_size=2)

    def run(name: str, *, seed: int = 0, part: int = 0, code: str = "", **changes) -> list[dict]:
        script("generate_traces").main(
            problems=tmp_path / "problems.jsonl",
            part=part,
            out=tmp_path / name,
            versions=tmp_path / "versions.json",
            settings=settings.model_copy(update=changes),
            seed=seed,
            code=[code],
            gpus=0,
        )
        return read_jsonl(tmp_path / name)

    return run


@pytest.mark.parametrize(("device", "dtype"), [("cpu", torch.float32), ("cuda", torch.bfloat16)])
def test_a_teacher_takes_half_the_memory_on_a_gpu(model: Path, monkeypatch, device, dtype) -> None:
    """As transformers has loaded it, when it is moved to the device, which may be missing here."""
    moved = []

    def to(network: PreTrainedModel, where: str) -> PreTrainedModel:
        moved.append((where, {weight.dtype for weight in network.parameters()}))
        return network

    monkeypatch.setattr(loading, "best_device", lambda: device)
    monkeypatch.setattr(PreTrainedModel, "to", to)
    teacher.sampler(model, backend="transformers", temperature=1.0, max_new_tokens=1)
    assert moved == [(device, {dtype})]


def test_seed_decides_the_traces(generate, tmp_path: Path) -> None:
    first = generate("a")
    assert first == generate("b")
    assert first != generate("c", seed=1)
    assert read_json(tmp_path / "versions.json").keys() == {"Python", "transformers", "torch"}
    assert list(first[0]) == ["problem", "answer", "source", "response", "tokens", "ended"]


def test_shares_are_all_problems_each_once(generate) -> None:
    parts = [generate(f"part-{part}", part=part, shards=4) for part in range(4)]
    told = [row["problem"] for part in parts for row in part]
    assert sorted(told) == sorted(row["problem"] for row in tiny_problems(6))
    assert [len(part) for part in parts] == [2, 2, 1, 1]


def test_a_killed_share_goes_on_where_it_was(generate, monkeypatch, tmp_path: Path) -> None:
    """The whole batches of a killed attempt are not sampled again, and nothing else changes."""
    undisturbed, sample, calls = generate("a"), teacher.sample, []

    def dying(*arguments, **settings):
        calls.append(len(arguments[1]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return sample(*arguments, **settings)

    monkeypatch.setattr(teacher, "sample", dying)
    with pytest.raises(KeyboardInterrupt):
        generate("b")
    journal = tmp_path / ".b.journal"
    journal.write_bytes(journal.read_bytes() + b'{"row": 5, "resp')  # a line that a kill cut
    assert generate("b") == undisturbed
    assert calls == [2, 2, 2, 2]
    assert not journal.exists()


def test_another_teacher_or_other_code_drops_what_a_killed_share_had(
    generate, monkeypatch, model: Path, tmp_path: Path
) -> None:
    """Each start samples two of six traces; those of an earlier start are kept if nothing changed.

    The teacher keeps its name, as one that is trained again does.
    """
    sample = teacher.sample
    changed = tmp_path / "changed"
    shutil.copytree(model, changed)
    (changed / "generation_config.json").write_text('{"temperature": 0.5}')
    link, kept, drawn = tmp_path / "teacher", [], []

    def once(*arguments, **settings):
        if drawn:
            raise KeyboardInterrupt
        drawn.append(True)
        return sample(*arguments, **settings)

    monkeypatch.setattr(teacher, "sample", once)
    for target, code in [(model, "a"), (model, "a"), (changed, "a"), (changed, "b")]:
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        drawn.clear()
        with pytest.raises(KeyboardInterrupt):
            generate("a", teacher=str(link), code=code)
        identity, *rows = read_jsonl(tmp_path / ".a.journal")
        assert identity["teacher"] == model_identity(target, None)
        kept.append(len(rows))
    assert kept == [2, 4, 2, 2]


def test_each_batch_is_sampled_by_a_seed_of_its_own(tmp_path: Path) -> None:
    """The longest problems come first; a journal's complete batches are not drawn again."""
    problems = [{"problem": "a" * n} for n in (1, 3, 2, 4, 5)]
    drawn: list[tuple[int, int]] = []

    def draw(messages: list[str], seed: int) -> list[teacher.Answer]:
        drawn.append((len(messages), seed))
        return [teacher.Answer(message[:5], 1, True) for message in messages]

    journal = RowJournal(tmp_path / "traces.jsonl", {})
    journal.append([{"row": i, "response": "", "tokens": 1, "ended": True} for i in (3, 4)])
    traces.sample_traces(problems, journal, draw, batch_size=2, seed=100)
    assert drawn == [(2, 102), (1, 104)]
    assert [row["row"] for row in journal.rows] == [3, 4, 1, 2, 0]


def test_other_settings_take_nothing_from_a_killed_share(generate, tmp_path: Path) -> None:
    changed = generate("a", temperature=0.5)
    (tmp_path / ".b.journal").write_text('{"settings": "others"}\n{"row": 0, "response": "x"}\n')
    assert generate("b", temperature=0.5) == changed


def test_only_right_and_finished_traces_reach_sft_and_all_problems_reach_rl(
    script, tmp_path: Path
) -> None:
    sampled = tiny_traces(6)
    sampled[0]["response"] = "so , the answer is \\boxed{ 19 }"
    sampled[1]["ended"] = False
    filtered(script, tmp_path, sampled, tiny_problems(6))
    rows = read_json(tmp_path / "sft" / "traces.json")
    assert [row["messages"][1]["content"] for row in rows] == [t["response"] for t in sampled[2:]]
    grpo = pyarrow.parquet.read_table(tmp_path / "grpo.parquet").to_pylist()
    assert len(grpo) == 6
    assert grpo[2]["prompt"] == [rows[0]["messages"][0]]
    assert grpo[2]["reward_model"] == {"style": "rule", "ground_truth": "2"}
    assert (grpo[2]["data_source"], grpo[2]["extra_info"]["index"]) == ("tiny", 2)


def test_manifest_counts_and_hashes(script, tmp_path: Path) -> None:
    sampled = tiny_traces(5)
    sampled[0]["response"] = "no box"
    filtered(script, tmp_path, sampled, tiny_problems(5))
    manifest = read_json(tmp_path / "manifest.json")
    assert (manifest["problems"], manifest["kept"], manifest["fraction_kept"]) == (5, 4, 0.8)
    assert manifest["sft_problems_subset_of_rl_problems"] is True
    assert set(manifest["sha256"]) == {
        "problems.jsonl",
        "grpo.parquet",
        "dataset_info.json",
        "traces.json",
    }


def test_a_teacher_that_solves_nothing(script, tmp_path: Path) -> None:
    sampled = [{**trace, "response": "\\boxed{ 99 }"} for trace in tiny_traces(5)]
    with pytest.raises(InputError, match="traces.teacher: .* solves none of 5 problems"):
        filtered(script, tmp_path, sampled, tiny_problems(5))
    assert not (tmp_path / "sft").exists()


def test_fewer_problems_than_a_batch(script, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="grpo.batch_size: 8 is more than the 5 problems"):
        filtered(script, tmp_path, tiny_traces(5), tiny_problems(5), batch_size=8)


def test_traces_of_other_problems_are_refused(script, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 traces match no problem in problems.jsonl"):
        filtered(script, tmp_path, tiny_traces(6), tiny_problems(5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this file has no problems"),
        (
            '{"problem": "p", "answer": "1", "source": "s"}\n{"problem": "p"}\n',
            "line 2: the column answer is missing",
        ),
    ],
)
def test_bad_problems_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "problems.jsonl").write_text(text)
    with pytest.raises(InputError, match=message):
        traces.read_problems(tmp_path / "problems.jsonl")


def test_backends_that_cannot_run(model: Path, monkeypatch) -> None:
    options = {"temperature": 1.0, "max_new_tokens": 1}
    with pytest.raises(InputError, match="Choose transformers or vllm"):
        teacher.sampler(model, backend="other", **options)
    monkeypatch.setitem(sys.modules, "vllm", None)  # as where it is not installed
    with pytest.raises(InputError, match="vllm is not installed"):
        teacher.sampler(model, backend="vllm", **options)
