"""The assumptions of the estimates: rates of a GPU, lengths of texts, bytes of a parameter.

Rates are those of one NVIDIA H200. The speeds of bfloat16 products and of memory are taken from a
measurement on an H200 outside this repository. All other numbers are assumed.
"""

FLOPS = 790e12  # bfloat16 products a second, measured on an H200 outside this repository
BANDWIDTH = 4.3e12  # bytes per second of device memory, measured likewise
DISK = 2e9  # bytes per second that a job reads or writes
START = 30  # seconds until a job's libraries and model are loaded
DECODE = 0.03  # seconds per token of a batch that transformers samples, for lm-eval
TOGETHER, STEP = 128, 0.005  # answers in vLLM's batch; seconds of a step besides reading memory
READING = 0.6  # fraction of BANDWIDTH at which vLLM reads weights and caches
LONGEST = 0.5  # fraction of the longest allowed answer that a batch's longest takes
EXTRACTING, TRAINING, SAMPLING = 0.5, 0.35, 0.2  # fractions of FLOPS that are reached
TRACE, ANSWER = 8000, 4000  # mean tokens of a teacher's trace, and of an answer in RL
MATH_ANSWER = 8000  # mean tokens of an answer to a math benchmark
SOLUTION = 300  # mean tokens of a problem's own solution
CORRECT = 0.7  # fraction of the traces
QUESTIONS, CHOICES, QUESTION = 1500, 4, 120  # of one multiple-choice task; tokens of a prompt
MATH = {"math500": 500, "aime24": 30, "aime25": 30}  # problems
OTHER_MATH = 1000  # problems of any other set
BRANCH = 10  # tokens of a choice behind the prompt that it shares
ROW = 11  # bytes in addition to a row's activations: token, position, sequence, mask
ADAM = 12  # bytes per parameter in training: the weight and two moments, in float32
GRPO_STATE = 2 * ADAM + 4  # of GRPO on disk: the last one, the next and its weights once more
GB, TB = 1e9, 1e12

ASSUMPTIONS = f"""\
An H200: {FLOPS / 1e12:.0f} TFLOP/s in bfloat16 and {BANDWIDTH / 1e12:.1f} TB/s, taken from a
measurement on an H200 outside this repository. All other numbers are assumed.
Of these, extraction reaches {EXTRACTING:.0%}, training {TRAINING:.0%}, sampling {SAMPLING:.0%}. A
crosscoder step takes 5 matrix products a model and 28 bytes of memory traffic a parameter.
Traces have {TRACE:,} tokens in the mean, the problems' own solutions {SOLUTION};
{CORRECT:.0%} are correct. Answers in RL have {ANSWER:,}, those to math benchmarks {MATH_ANSWER:,}.
Of the latter, vLLM has {TOGETHER} in its batch. A step reads the weights and their caches at
{READING:.0%} of the bandwidth, and takes {1000 * STEP:.0f} ms more. At the end of a set, its
longest answer continues alone, to what is allowed. With transformers, a batch takes {DECODE} s per
token until its longest answer ends, at {LONGEST:.0%} of what is allowed. An intervention takes the
upper half of a pass over all questions.
Every job takes {START} s to start, and reads and writes {DISK / GB:.0f} GB/s.
Wall time is for GPUs that are always busy."""
