"""Write models without training them: random weights, each a little different from the one before.

    python untrained_models.py TOKENIZER FOLDER NAME...

For tests of what comes after training. Qwen2, as the mini study has Qwen3 and the end-to-end test
Llama. Runs in the analysis environment.
"""

import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM


def main(tokenizer: Path, folder: Path, *names: str) -> None:
    """One model directory for each name."""
    words = AutoTokenizer.from_pretrained(tokenizer)
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(words),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=512,
            initializer_range=0.2,
            tie_word_embeddings=True,
            pad_token_id=words.pad_token_id,
            bos_token_id=None,
            eos_token_id=words.eos_token_id,
        )
    )
    for name in names:
        model.save_pretrained(folder / name)
        words.save_pretrained(folder / name)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.05 * torch.randn_like(parameter)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
