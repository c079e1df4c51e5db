"""Select the entries that BatchTopK keeps on a CPU: the largest f_k n_k of a batch, exactly.

The factor n_k = sum_i |W_dec,k^i|_2 ranks an entry by the size of what it writes, so that rescaling
a feature changes nothing. Among equal entries the first are kept, by row, then by feature.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from crosslens.crosscoder.kernels.cpu import jit
from crosslens.crosscoder.kernels.cpu_entries import close_gaps

BOUND = 0.75  # fraction of a batch's threshold above which the next one is expected
MARGIN = 1 + 1e-6  # covers rounding of a bound over a norm, times the norm
TINY = np.finfo(np.float32).tiny


class Selection:
    """Workspace, and a lower bound that a batch's threshold is expected to exceed.

    The bound saves time. It is checked, so no result depends on it.
    """

    def __init__(self, size: int, d_sparse: int, threads: int) -> None:
        self.v = np.empty(size * d_sparse, dtype=np.float32)
        self.n_kept = np.empty((threads, d_sparse), dtype=np.int64)
        self.bound, self.threshold = 0.0, 0.0

    def bounds(self, norms: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """Return the value that each feature's candidates must exceed."""
        if not self.bound:
            return np.zeros_like(norms)
        with np.errstate(divide="ignore"):
            return np.float32(self.bound) / norms

    def select(
        self,
        run: Callable[..., None],
        run_rows: Callable[..., None],
        by_feature: tuple[np.ndarray, ...],
        norms: Float[np.ndarray, " k"],
        keep: int,
    ) -> bool:
        """Keep the `keep` largest entries; return False if the bound may have hidden some.

        `by_feature` are pointer, position, rows and f of `cpu_entries.transpose`, changed in place.
        If the bound may have hidden entries, it is set to zero, and all must be found again.
        """
        pointer, position, rows, f = by_feature
        count = int(pointer[-1])
        run(weigh, pointer, f, norms, self.v)
        v, tied = self.v[:count], 0
        if count > keep:
            threshold = float(np.partition(v, count - keep)[count - keep])
            tied = np.count_nonzero(v >= threshold) - keep
        elif self.bound:
            threshold = 0.0
        else:
            threshold = TINY
        if self.bound and not threshold > self.bound * MARGIN:
            self.bound = 0.0
            return False
        if tied:
            v[last_of_equals(v, np.float32(threshold), pointer, rows, tied)] = -1
        self.threshold = max(threshold, TINY)
        run_rows(keep_above, *by_feature, self.v, np.float32(self.threshold), self.n_kept)
        close_gaps(*by_feature, self.n_kept)
        self.bound = BOUND * threshold if count > keep else 0.0
        return True


def last_of_equals(
    v: Float[np.ndarray, " z"],
    value: np.float32,
    pointer: Int[np.ndarray, " k_1"],
    rows: Int[np.ndarray, " entries"],
    count: int,
) -> Int[np.ndarray, " count"]:
    """Return the positions of the last `count` entries of a value, by row, then by feature."""
    places = np.flatnonzero(v == value)
    features = np.searchsorted(pointer, places, side="right")
    return places[np.lexsort((features, rows[places]))[-count:]]


@jit
def weigh(thread, start, stop, pointer, f, norms, v):
    """Set v to f times the feature's norm, for the entries of features [start, stop)."""
    for k in range(start, stop):
        for i in range(pointer[k], pointer[k + 1]):
            v[i] = f[i] * norms[k]


@jit
def keep_above(thread, start, stop, pointer, position, rows, f, v, threshold, n_kept):
    """Move a thread's entries from the threshold on to the front of their part.

    A part holds the entries of one feature and thread; `n_kept` receives the number of these
    entries.
    """
    for k in range(position.shape[1]):
        first = position[thread - 1, k] if thread else pointer[k]
        z = first
        for i in range(first, position[thread, k]):
            rows[z], f[z] = rows[i], f[i]
            z += not v[i] < threshold
        n_kept[thread, k] = z - first
