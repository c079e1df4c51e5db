"""The exact training step of a crosscoder, on the fastest path for the measured density.

Advanced: nothing else needs these modules. `train_step` is the interface; `dense` and `sparse_cpu`
or `sparse_gpu` compute the gradients. docs/kernels.md explains them.
"""
