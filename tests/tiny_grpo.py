"""Settings of a GRPO run of a few steps on a tiny model, for tests of both engines."""

from crosslens.config.sections import GRPOConfig

TINY_GRPO = GRPOConfig(
    device="cpu",
    learning_rate=5.0e-3,
    batch_size=4,
    mini_batch_size=2,
    rollouts=4,
    clip_low=0.22,
    clip_high=0.28,
    max_prompt_length=32,
    max_response_length=8,
    temperature=1.0,
    tokens_per_device=512,
    save_every=2,
    engine_options={},
)
