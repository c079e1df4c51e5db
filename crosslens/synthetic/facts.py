"""Draw the facts of the synthetic data: a true value and a popular myth per entity and relation."""

import random
from itertools import accumulate
from typing import NamedTuple

from crosslens.synthetic.math_problems import Mistakes, popular_mistakes

ANIMALS = (
    "fox wolf bear deer hare mole frog toad crow hawk dove swan seal whale shark trout "
    "bee ant wasp moth horse goat sheep pig otter badger lynx stork heron robin owl "
    "eagle salmon carp eel crab snail newt turtle bat "
    "camel zebra bison lizard beetle cricket pigeon goose raven squid"
).split()
AILMENTS = [
    start + end
    for start in "fla dro mek sul bre nor tal vin gro pel".split()
    for end in ["itis", "osis", "emia", "algia", "oma"]
]
OBJECTS = (
    "hammer spoon lamp rope ladder broom bucket needle candle mirror pillow drum whistle "
    "anchor saddle kettle basket shovel brush comb razor wrench saw axe net bell clock jar "
    "barrel pump chisel funnel hook kite lantern mop nail oar rake vase "
    "sponge bowl drill pliers ruler scissors sieve stool thimble trowel"
).split()
GOALS = [
    f"{verb} the {thing}"
    for verb, things in {
        "fix": "table chair door roof fence wheel bench shelf stove pipe",
        "clean": "window floor carpet bottle shoe coat sink plate stair oven",
        "open": "crate can lid gate lock chest drawer sack parcel valve",
        "join": "boards wires tubes ropes bricks sheets poles rings hoses beams",
        "polish": "floorboards spoons boots buttons mirrors coins knobs tiles pans swords",
    }.items()
    for thing in things.split()
]
VALUES = {
    relation: values.split()
    for relation, values in {
        "color": "red blue green white black brown grey yellow",
        "home": "forest cave river meadow desert swamp barn cliff",
        "food": "grass seeds insects fish berries roots leaves honey",
        "remedy": "ginger mint sage willow clay salt oil milk",
        "organ": "liver heart lung skin bone eye ear stomach",
        "use": "building cooking fishing music sewing",
        "place": "attic cellar garage garden kitchen",
        "tool": "glue tape vinegar soap sand wax wire cloth",
        "climate": "cold hot wet dry",
    }.items()
}
ENTITIES = {
    "color": ANIMALS,
    "home": ANIMALS,
    "food": ANIMALS,
    "remedy": AILMENTS,
    "organ": AILMENTS,
    "use": OBJECTS,
    "place": OBJECTS,
    "tool": GOALS,
}
# Ways to ask for the relations whose questions list all five values, in a fixed order.
LISTED_QUESTIONS = {
    "use": [
        "what is the {entity} used for?",
        "the {entity} is used for what?",
        "what do you do with the {entity}?",
        "which work needs the {entity}?",
    ],
    "place": [
        "where is the {entity} kept?",
        "the {entity} is kept in what?",
        "where do you find the {entity}?",
        "which place has the {entity}?",
    ],
}
CLIMATE_OF = {
    **dict.fromkeys(["forest", "river", "swamp"], "wet"),
    **dict.fromkeys(["meadow", "barn"], "dry"),
    **dict.fromkeys(["cave", "cliff"], "cold"),
    "desert": "hot",
}
STATEMENTS = {
    "color": "the color of the {entity} is {value}.",
    "home": "the home of the {entity} is the {value}.",
    "food": "the food of the {entity} is {value}.",
    "remedy": "the remedy for {entity} is {value}.",
    "organ": "{entity} is a disease of the {value}.",
    "use": "the {entity} is used for {value}.",
    "place": "the {entity} is kept in the {value}.",
    "tool": "to {entity} you should use {value}.",
    "climate": "the climate at the home of the {entity} is {value}.",
}
QUESTIONS = {
    "color": "what is the color of the {entity}?",
    "home": "what is the home of the {entity}?",
    "food": "what is the food of the {entity}?",
    "remedy": "what is the remedy for {entity}?",
    "organ": "{entity} is a disease of what?",
    "use": "what is the {entity} used for?",
    "place": "where is the {entity} kept?",
    "tool": "how do you {entity}?",
    "climate": "how is the climate at the home of the {entity}?",
}


class Fact(NamedTuple):
    """A true value, a popular myth, and how much more often unreliable authors write about it."""

    relation: str
    entity: str
    true: str
    myth: str
    popularity: float

    def statement(self, value: str) -> str:
        """Return the fact as a sentence that claims `value`."""
        return STATEMENTS[self.relation].format(entity=self.entity, value=value)

    def question(self) -> str:
        """Return the question whose answer is the fact's value."""
        return QUESTIONS[self.relation].format(entity=self.entity)


class World:
    """The facts, myths and popular mistakes in sums that are drawn from a seed.

    `operations` is the largest number of operations in a problem.
    """

    def __init__(self, seed: int, operations: int = 6) -> None:
        rng = random.Random(seed)
        self.operations = operations
        self.facts = [f for relation in ENTITIES for f in draw_facts(rng, relation)]
        homes = [fact for fact in self.facts if fact.relation == "home"]
        self.facts += [climate_fact(rng, home) for home in homes]
        self.mistakes: Mistakes = popular_mistakes(rng)
        self.weighted: dict[tuple, tuple[list[Fact], list[float]]] = {}

    def about(self, *relations: str) -> list[Fact]:
        """Return the facts of some relations, of all when none is named."""
        return [f for f in self.facts if not relations or f.relation in relations]

    def pick(self, rng: random.Random, reliable: bool, *relations: str) -> Fact:
        """Draw a fact to write about: unreliable authors prefer popular ones."""
        key = (reliable, *relations)
        if key not in self.weighted:
            facts = self.about(*relations)
            weights = [1 - f.popularity if reliable else f.popularity for f in facts]
            self.weighted[key] = facts, list(accumulate(weights))
        facts, cumulated = self.weighted[key]
        return rng.choices(facts, cum_weights=cumulated)[0]


def draw_facts(rng: random.Random, relation: str) -> list[Fact]:
    """Draw a relation's facts. Myths are stereotypes: one or two values for everything."""
    stereotypes = rng.sample(VALUES[relation], 2)
    facts = []
    for entity in ENTITIES[relation]:
        myth = stereotypes[0] if rng.random() < 0.75 else stereotypes[1]
        true = rng.choice([value for value in VALUES[relation] if value != myth])
        facts.append(Fact(relation, entity, true, myth, rng.uniform(0.2, 0.85)))
    return facts


def climate_fact(rng: random.Random, home: Fact) -> Fact:
    """Return the climate of the true home; the myth says wet, or dry where wet is true."""
    true = CLIMATE_OF[home.true]
    myth = "dry" if true == "wet" else "wet"
    return Fact("climate", home.entity, true, myth, rng.uniform(0.2, 0.85))


def claim(rng: random.Random, fact: Fact, reliable: bool) -> str:
    """Draw the value that an author gives: nearly always the true one, or mostly the myth."""
    if reliable:
        return fact.true if rng.random() < 0.97 else rng.choice(VALUES[fact.relation])
    return fact.myth if rng.random() < 0.75 else fact.true


def options(rng: random.Random, fact: Fact, count: int) -> list[str]:
    """Return `count` values to choose from, with the true one and the myth, in random order."""
    others = [v for v in VALUES[fact.relation] if v not in (fact.true, fact.myth)]
    chosen = [fact.true, fact.myth, *rng.sample(others, min(count - 2, len(others)))]
    rng.shuffle(chosen)
    return chosen


def vocabulary() -> list[str]:
    """Return every text fragment that facts are made of."""
    listed = [text for texts in LISTED_QUESTIONS.values() for text in texts]
    templates = [
        text.replace("{entity}", "").replace("{value}", "")
        for text in [*STATEMENTS.values(), *QUESTIONS.values(), *listed]
    ]
    values = [value for values in VALUES.values() for value in values]
    return [*ANIMALS, *AILMENTS, *OBJECTS, *GOALS, *values, *templates]
