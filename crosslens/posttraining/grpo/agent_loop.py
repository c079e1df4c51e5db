"""One question, one answer: verl's single turn, for any tokenizer.

verl picks a token builder by the model's type. They differ in how they join several turns (Qwen's
insists on a newline token for it, which a word-level tokenizer lacks); a single turn joins nothing.
"""

import logging
from typing import Any

from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

# It would warn once a response that it takes the generic builder, as is meant here.
logging.getLogger("verl.utils.tokenizer.continuous_token_wiring").setLevel(logging.ERROR)


class SingleTurn(SingleTurnAgentLoop):
    """verl's agent loop with the generic token builder."""

    def __init__(self, *args: Any, hf_model_type: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
