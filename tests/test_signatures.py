"""Types and shapes in signatures hold while tests run."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from crosslens.analysis.edits import in_span
from crosslens.analysis.significance import excess


def test_a_wrong_shape_is_refused():
    assert in_span(torch.ones(3), torch.eye(3)).shape == (3,)
    with pytest.raises(TypeCheckError, match="directions"):
        in_span(torch.ones(3), torch.ones(2, 4))


def test_a_wrong_type_is_refused():
    with pytest.raises(TypeCheckError, match="values"):
        excess(np.array(["a", "b"]))
