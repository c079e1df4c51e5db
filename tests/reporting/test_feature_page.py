"""The page of feature cards: what it shows of each card, and how texts are highlighted."""

import math
from pathlib import Path

from helpers_cards import card_record, context_record, lens_record
from test_html_report import Balanced

from crosslens.reporting import feature_page
from crosslens.reporting.feature_page import Segment, examples, percent, segments, shade

TEMPLATES = Path(feature_page.__file__).with_name("templates")


def shown(cards: list[dict], edits: dict[int, list[dict]]) -> str:
    template, script = TEMPLATES / "features.html.j2", TEMPLATES / "report.js"
    return feature_page.render_feature_page(
        cards,
        [lens_record("base", "all", None), lens_record("rl-5", "0", 1.0)],
        edits,
        template.read_text(),
        script.read_text(),
        family="tiny",
        label="Tiny",
        crosscoder="trio-r0",
    )


def test_a_page_has_every_card_and_needs_no_network() -> None:
    cards = [
        card_record(5, ["most specific to SFT"]),
        card_record(9, ["drawn at random"], fires=False),
        card_record(7, ["matched control"]),
    ]
    edit = {"edited": "RL", "dose": "multiply 0", "set": "a set", "questions": "here", "seeds": 3}
    edit |= {"value": -4.0, "control_mean": 0.5, "excess": -4.5, "low": -6.0, "high": math.nan}
    html = shown(cards, {5: [edit]})
    Balanced().feed(html)
    assert html.endswith("</html>\n")
    assert 'id="f5"' in html
    assert 'href="#f9"' in html
    assert "It fires on no held-out text" in html
    assert "Near misses" in html
    assert "&lt;a&gt;" in html  # a token is text, not markup
    assert "http" not in html
    assert "−0.25" in html
    assert "<td>1.50 ± 0.06</td><td>1.50 ± –</td>" in html
    assert "ν of the reconstruction</td><td>−0.75</td>" in html
    assert "<td>sciq</td><td>0.12</td><td>0.50</td><td>–</td>" in html
    assert '<a id="ab12-5" href="#ab12-5">permalink</a>' in html
    assert "model alone (R²)</td><td>0.88</td><td>–</td><td>−0.12</td>" in html
    assert "<td>trio-r1</td><td>0.94</td>" in html
    assert html.count("What the edits") == 1  # feature 9 is in no set
    assert "<code>interventions/tiny/comparisons.csv</code>" in html
    assert "<td>−4.0</td><td>+0.5</td><td>−4.5 [−6.0, –]</td><td>3</td>" in html
    assert 'it replaces feature <a href="#f5">5</a>' in html
    assert [f'id="by-{name}"' in html for name in ("joint", "base", "sft-5", "rl-5")] == [True] * 4


def test_tokens_that_chance_explains_are_grey() -> None:
    html = shown([card_record(5, ["drawn at random"])], {})
    base, tuned = html.split('<td class="text">general</td>')[1:]
    assert "<td>10%</td><td>–</td>" in base
    assert "<span>&lt;b&gt;</span><span>⏎</span>" in base
    assert "<td>10%</td><td>100%</td>" in tuned
    assert '<span>&lt;b&gt;</span><span class="chance">⏎</span>' in tuned
    assert '<span>y</span><span class="chance">z</span>' in tuned


def test_a_page_without_any_context() -> None:
    card = card_record(1, ["drawn at random"], fires=False)
    card["contexts"]["near_miss"] = []
    Balanced().feed(shown([card], {}))


def test_text_between_highlights_is_one_piece() -> None:
    context = context_record(["a", " b", "\n", " c", " d"], 2, 1.0)
    plain = Segment("a b", {}, False)
    fires = Segment("⏎", {"joint": "0.50", "sft-5": "0.50", "rl-5": "0.50"}, True)
    assert segments(context, 2.0) == [plain, fires, Segment(" c d", {}, False)]


def test_a_token_that_is_shown_but_does_not_fire_stays_apart() -> None:
    found = segments(context_record(["a", "b"], 1, -0.5), 2.0)
    assert found == [Segment("a", {}, False), Segment("b", {}, True)]


def test_examples_are_the_first_of_each_reason_that_fire() -> None:
    cards = [card_record(i, ["most specific to RL"]) for i in range(5)]
    cards.append(card_record(7, ["drawn at random"], fires=False))
    cards.append(card_record(8, ["most specific to RL", "drawn at random"]))
    found = examples(cards, 2)
    assert {reason: [card["feature"] for card in own] for reason, own in found.items()} == {
        "most specific to RL": [0, 1],
        "drawn at random": [8],
    }


def test_numbers_as_text() -> None:
    assert [shade(0.01, 2), shade(2, 2), shade(5, 2), shade(1, 0)] == ["0.05", "1.00", "1.00", "0"]
    rates = [0.0123, 1.0, 0.996, 1e-7, 0.0, None]
    assert [percent(r) for r in rates] == ["1.2%", "100%", "100%", "0.00001%", "0%", "–"]
