"""List the units that an answer may have, with one name for each.

The list is closed: any other word may change the meaning (5 million, 5 pairs, 5 wrong), so an
answer with such a word is correct only if the gold answer has the same word.
"""

from collections.abc import Iterable

MEASURES = {
    "mm": "millimeter millimetre", "cm": "centimeter centimetre", "m": "meter metre",
    "km": "kilometer kilometre", "in": "inch", "ft": "foot feet", "yd": "yard", "mi": "mile",
    "mg": "milligram", "g": "gm gram", "kg": "kilogram", "lb": "lbs pound", "oz": "ounce",
    "ml": "milliliter millilitre", "l": "liter litre", "gal": "gallon", "qt": "quart",
    "s": "sec second", "min": "minute", "h": "hr hour", "day": "", "week": "", "month": "",
    "year": "yr", "mi/h": "mph", "dollar": "usd", "cent": "", "euro": "", "yuan": "",
    "degree": "deg", "radian": "rad", "percent": "percentage pct", "unit": "", "acre": "",
    "hectare": "", "celsius": "", "fahrenheit": "", "newton": "", "joule": "", "watt": "",
    "volt": "", "hertz": "hz", "kelvin": "", "am": "", "pm": "",
}  # fmt: skip
COUNTED = """
    apple arrangement ball balloon bead bill bird block board boat book bottle box boy bus cake
    candidate candy car card case cat chair chicken child chocolate choice circle class coin
    color combination committee cookie cow cube cup customer diagonal digit divisor dog door dot
    edge egg element employee event factor fish flight flower friend function game girl goal
    group guest handshake hat horse house integer intersection item jar kid leaf letter line man
    marble match meal member move multiple number orange outcome page part path pattern pen
    pencil permutation person piece plane plate player point polygon possibility prime problem
    puppy question rectangle region room root rope round route row school seat sequence sheep
    shirt shot side slice sock solution song spot stamp star step sticker stone student subset
    symbol table tape teacher team term test ticket tile toy train tree trial triangle trip
    truck value vertex visitor vote way win woman word worker
    """.split()
IRREGULAR = {
    "children": "child", "people": "person", "men": "man", "women": "woman", "inches": "in",
    "vertices": "vertex", "leaves": "leaf", "puppies": "puppy", "candies": "candy",
    "possibilities": "possibility",
}  # fmt: skip
NAMES = (
    {name: unit for unit, names in MEASURES.items() for name in (unit, *names.split())}
    | {name: name for name in COUNTED}
    | IRREGULAR
)
POWERS = {"square": "^2", "sq": "^2", "cubic": "^3", "cu": "^3"}
AFTER = {"squared": "^2", "cubed": "^3"}
ADJECTIVES = {"different", "distinct", "possible", "right", "total", "whole"}
WORDS = {*NAMES, *(f"{name}s" for name in NAMES), *POWERS, *AFTER, *ADJECTIVES, "per"}


def unit_name(words: Iterable[str]) -> str | None:
    """Return the standard name of a unit (`cm^2`, `mi/h`), or None if a word is not in the list.

    `words` are lower-case words, `/`, and powers such as `^2`.
    """
    name, power = "", ""
    for word in words:
        if word in POWERS:
            power = POWERS[word]
        elif word in AFTER or word.startswith("^"):
            if not name or name.endswith("/"):
                return None
            name += AFTER.get(word, word)
        elif word in ("per", "/"):
            if not name:
                return None
            name += "/"
        elif word not in ADJECTIVES:
            if (unit := singular(word)) is None or (name and not name.endswith("/")):
                return None
            name, power = name + unit + power, ""
    return None if power or not name or name.endswith("/") else name


def singular(word: str) -> str | None:
    """Return the standard name of a measured or counted thing."""
    forms = (word, word.removesuffix("s"), word.removesuffix("es"))
    return next((NAMES[form] for form in forms if form in NAMES), None)
