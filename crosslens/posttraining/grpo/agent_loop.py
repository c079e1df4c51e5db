"""Use verl's single-turn agent loop with any tokenizer.

verl selects a token builder by the model's type. Builders differ in how they join several turns:
Qwen's requires a newline token, which a word-level tokenizer lacks. A single turn joins nothing.
"""

import logging
from typing import Any

from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

# It would warn about the generic builder with every response.
logging.getLogger("verl.utils.tokenizer.continuous_token_wiring").setLevel(logging.ERROR)


class SingleTurn(SingleTurnAgentLoop):
    """verl's agent loop with the generic token builder."""

    def __init__(self, *args: Any, hf_model_type: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
