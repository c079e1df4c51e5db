"""The assumptions of the estimates: speeds of GPUs, lengths of texts, bytes of a parameter.

Each card is assumed to reach the fractions of its data sheet's speeds that an H200 reached in a
measurement outside this repository: 790 TFLOP/s of bfloat16 products, 4.3 TB/s of memory. All other
numbers are assumed.
"""

from typing import NamedTuple


class Card(NamedTuple):
    """A GPU by NVIDIA's data sheet."""

    name: str
    peak: float  # bfloat16 products a second, without sparsity
    traffic: float  # bytes a second of device memory
    memory: float  # bytes

    @property
    def flops(self) -> float:
        """Return the bfloat16 products a second that large products reach."""
        return self.peak * 790 / 989

    @property
    def bandwidth(self) -> float:
        """Return the bytes a second at which memory is read."""
        return self.traffic * 4.3 / 4.8


CARDS = {  # by plan.gpu; the RTX 4090's sheet is the white paper of the Ada architecture
    "h200": Card("H200", 989e12, 4.8e12, 141e9),
    "h100-80": Card("H100 80GB", 989e12, 3.35e12, 80e9),
    "a100-80": Card("A100 80GB", 312e12, 2.039e12, 80e9),
    "rtx4090": Card("RTX 4090", 165.2e12, 1.008e12, 24e9),
}
DISK = 2e9  # bytes per second that a job reads or writes
START = 30  # seconds until a job's libraries and model are loaded
DECODE = 0.03  # seconds per token of a batch that transformers samples, for lm-eval
TOGETHER, STEP = 128, 0.005  # answers in vLLM's batch; seconds of a step besides reading memory
READING = 0.6  # fraction of the bandwidth at which vLLM reads weights and caches
LONGEST = 0.5  # fraction of the longest allowed answer that a batch's longest takes
EXTRACTING, TRAINING, SAMPLING = 0.5, 0.35, 0.2  # fractions of `flops` that are reached
TRACE, ANSWER = 8000, 4000  # mean tokens of a teacher's trace, and of an answer in RL
MATH_ANSWER = 8000  # mean tokens of an answer to a math benchmark
SOLUTION = 300  # mean tokens of a problem's own solution
CORRECT = 0.7  # fraction of the traces
QUESTIONS, CHOICES, QUESTION = 1500, 4, 120  # of one multiple-choice task; tokens of a prompt
MATH = {"math500": 500, "aime24": 30, "aime25": 30}  # problems
OTHER_MATH = 1000  # problems of any other set
BRANCH = 10  # tokens of a choice behind the prompt that it shares
ROW = 11  # bytes in addition to a row's activations: token, position, sequence, mask
STATE = 16  # bytes per parameter of SFT (bfloat16 weight and gradient, and ADAM's) and of GRPO
# (float32 gradient, and ADAM's)
LOGIT = 14  # bytes per logit in training: bfloat16, float32 twice, and the gradient
VLLM_SHARE = 0.5  # of a GPU in rollouts, where verl's own key does not say it
ADAM = 12  # bytes per parameter in training: the weight and two moments, in float32
GRPO_STATE = 2 * ADAM + 4  # of GRPO on disk: the last one, the next and its weights once more
GB, TB = 1e9, 1e12


def assumptions(card: Card) -> str:
    """Return the assumptions in words."""
    return f"""\
An {card.name}: {card.flops / 1e12:.0f} TFLOP/s in bfloat16 and {card.bandwidth / 1e12:.1f} TB/s.
The card is assumed to reach the fractions of its data sheet's speeds that an H200 reached in a
measurement outside this repository. All other numbers are assumed, too.
Extraction reaches {EXTRACTING:.0%} of the products, training {TRAINING:.0%}, sampling
{SAMPLING:.0%}. A crosscoder step takes 5 matrix products a model and 28 bytes of memory traffic a
parameter. In a GPU's memory, training takes {STATE} bytes per parameter and {LOGIT} per
logit, a crosscoder {ADAM} per parameter. The layers' own values are left out.
Traces have {TRACE:,} tokens in the mean, the problems' own solutions {SOLUTION}; {CORRECT:.0%} are
correct. Answers in RL have {ANSWER:,}, those to math benchmarks {MATH_ANSWER:,}. Of the latter,
vLLM has {TOGETHER} in its batch. A step reads the weights and their caches at {READING:.0%} of
the bandwidth, and takes {1000 * STEP:.0f} ms more. At the end of a set, its longest answer
continues alone, to what is allowed. With transformers, a batch takes {DECODE} s per token until
its longest answer ends, at {LONGEST:.0%} of what is allowed. An intervention takes the upper half
of a pass over all questions.
Every job takes {START} s to start, and reads and writes {DISK / GB:.0f} GB/s.
Wall time is for GPUs that are always busy."""
