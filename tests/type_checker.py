"""The run-time type checker that jaxtyping applies to the library's signatures in tests."""

from beartype import BeartypeConf, beartype

# As for static type checkers, an int may be given where a float is expected (PEP 484).
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
