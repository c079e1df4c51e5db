"""The models in pretrained/ are those that mini.yaml asks for."""

from pathlib import Path

import pytest
import yaml

from crosslens.config.local_models import check_facts
from crosslens.config.study import StudyConfig
from crosslens.config.synthetic_constants import FACTS_FILE, SYNTHETIC_POSITIONS
from crosslens.io.errors import InputError
from crosslens.io.records import read_json
from crosslens.models.tokenizer import load_tokenizer
from crosslens.synthetic.authors import vocabulary
from crosslens.synthetic.tokenizer import build_tokenizer

ROOT = Path(__file__).resolve().parents[2]
MINI = yaml.safe_load((ROOT / "mini.yaml").read_text())
MODELS = [MINI["families"]["tiny"]["base"], MINI["traces"]["teacher"]]


@pytest.mark.parametrize("name", MODELS)
def test_a_pretrained_model_fits_mini_yaml(name: str) -> None:
    fields, facts = (read_json(ROOT / name / file) for file in ("config.json", FACTS_FILE))
    world = MINI["world"]
    assert {key: fields[key] for key in world["model"]} == world["model"]
    assert fields["model_type"] == world["architecture"]
    assert facts == {"seed": MINI["seed"], "max_operations": world["max_operations"]}


@pytest.mark.parametrize("name", MODELS)
def test_its_tokenizer_is_the_one_that_the_synthetic_data_use(name: str) -> None:
    tokenizer = load_tokenizer(ROOT / name)
    assert tokenizer.get_vocab() == build_tokenizer(vocabulary(), SYNTHETIC_POSITIONS).get_vocab()


def test_a_model_that_has_read_other_facts_is_refused() -> None:
    study = StudyConfig(**MINI | {"study": "s", "seed": 1})
    with pytest.raises(InputError, match=r"^traces.teacher: .*Give results/s/world/teacher"):
        check_facts("traces.teacher", ROOT / MODELS[1], study)
    check_facts("traces.teacher", ROOT / MODELS[1], StudyConfig(**MINI))
