"""Use verl's single-turn agent loop with any tokenizer.

verl selects a token builder by the model's type. Builders differ in how they join several turns:
Qwen's requires a newline token, which a word-level tokenizer lacks. A single turn joins nothing.
"""

import logging
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

from crosslens.models.tokenizer import turn_end_tokens

# It would warn about the generic builder with every response.
logging.getLogger("verl.utils.tokenizer.continuous_token_wiring").setLevel(logging.ERROR)


class SingleTurn(SingleTurnAgentLoop):
    """verl's agent loop with the generic token builder; the template's end of turn ends answers."""

    def __init__(self, *args: Any, hf_model_type: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """Sample one completion. vLLM adds the end tokens that the model's files declare."""
        ends = {"stop_token_ids": turn_end_tokens(self.tokenizer)}
        return await super().run({**sampling_params, **ends}, **kwargs)
