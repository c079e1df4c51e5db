"""Feature cards as `feature_cards.card` writes them, for the tests of the pages that show them."""

from typing import Any

MODELS = ["base", "sft-5", "rl-5"]


def context_record(tokens: list[str], at: int, value: float) -> dict[str, Any]:
    """Return a context whose joint code fires on one token, and whose base code nowhere."""
    joint = [value if i == at else 0.0 for i in range(len(tokens))]
    codes = {"joint": joint, "base": [0.0] * len(tokens), "sft-5": joint, "rl-5": joint}
    return {
        **{"sequence": 3, "position": 7, "value": value, "at": at},
        **{"tokens": tokens, "codes": codes},
    }


def card_record(feature: int, reasons: list[str], *, fires: bool = True) -> dict[str, Any]:
    """Return the card of a feature that fires on the token of a line break, or nowhere."""
    texts = [context_record(["<a>", " b\n", "c"], 1, value) for value in (2.0, 1.0)]
    lens = {"raised": ["\n", "x"], "lowered": ["y", "z"]}
    shares = {"base": 0.1, "sft": None, "rl": 0.5}
    return {
        "feature": feature,
        "crosscoder": "ab12",
        "reasons": reasons,
        "replaces": 5 if "matched control" in reasons else None,
        "rate": 0.0123,
        "pattern": "rl-5",
        "mas": shares,
        "mas_star": shares,
        "latent_scaling": {
            "beta_error": dict.fromkeys(MODELS, 1.5),
            "stderr": {"base": 0.0625, "sft-5": None, "rl-5": 0.125},
            "nu_error": dict.fromkeys(MODELS, 0.5),
            "nu_reconstruction": dict.fromkeys(MODELS, -0.75),
            "nu_activation": dict.fromkeys(MODELS, 0.25),
        },
        "decoded": {"base": 0.875, "sft-5": None, "rl-5": -0.125},
        "matches": {"trio-r1": 0.9375, "trio-r2": None},
        "cosine": {"base and rl-5": -0.25},
        "scores": {"sciq": {"score": 0.125, "contribution": 0.5, "lost": None}},
        "rate_by_source": {"general": 0.01, "reasoning": 0.02},
        "histogram": {"-1": 3, "1": 6} if fires else {},
        "lens": dict.fromkeys(MODELS, lens),
        "contexts": {
            "strongest": texts if fires else [],
            "near_miss": [context_record(["n"], 0, -0.5)],
            **({"level_1": texts[:1]} if fires else {}),
        },
    }


def lens_record(model: str, place: str, chance: float | None) -> dict[str, Any]:
    """Return a row of the activation-difference lens that raises two tokens by 2 and 0.5."""
    return {
        **{"model": model, "source": "general", "place": place, "norm": 0.1},
        **{"norm_by_chance": chance, "logit_by_chance": chance},
        **{"raised": ["<b>", "\n"], "raised_by": [2.0, 0.5]},
        **{"lowered": ["y", "z"], "lowered_by": [-2.0, -0.5]},
    }
