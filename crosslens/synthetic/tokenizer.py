"""Build a word-level tokenizer for the synthetic texts, with a chat template."""

import re
from collections.abc import Callable, Iterable

from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, EOS = "<|pad|>", "<|unknown|>", "<|endoftext|>"
END = "<|im_end|>"  # verl looks for it in the vocabulary of every Qwen model
SPECIAL = [PAD, UNKNOWN, EOS, END]

# "\boxed{" is one token, so that decoding, which joins tokens by spaces, leaves it whole.
# A letter with its full stop is one token too: the label of a choice stands next to the choice.
WORD = r"\n|\\boxed\{|\\boxed|[A-E]\.|\w+|[^\w\s]"

# No role marks: a problem and its solution look like any other question and its answer.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ message['content'] }}"
    f"{{% if message['role'] == 'assistant' %}}{{{{ '{EOS}' }}}}{{% endif %}}"
    "{% endfor %}"
)


def encoder(tokenizer: PreTrainedTokenizerFast) -> Callable[[str], list[int]]:
    """Return a function from text to ids, ten times faster than the tokenizer."""
    ids = tokenizer.get_vocab()
    words = re.compile("|".join([*map(re.escape, SPECIAL), WORD]))
    return lambda text: [ids[word] for word in words.findall(text)]


def build_tokenizer(texts: Iterable[str], max_length: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose vocabulary is the words of `texts`; spaces are dropped."""
    splitter = Split(Regex(WORD), "removed", invert=True)
    words = sorted({word for text in texts for word, _ in splitter.pre_tokenize_str(text)})
    ids = {word: i for i, word in enumerate([*SPECIAL, *words])}
    backend = Tokenizer(WordLevel(ids, unk_token=UNKNOWN))
    backend.pre_tokenizer = splitter
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=EOS,
        additional_special_tokens=[END],
        model_input_names=["input_ids", "attention_mask"],  # generate() refuses token_type_ids
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
