"""Constants of the synthetic data, shared by the checks of the configuration and the jobs."""

SYNTHETIC_POSITIONS = 512  # max_position_embeddings of the synthetic models
MOST_OPERATIONS = 7  # of a synthetic math problem
FACTS_FILE = "synthetic-facts.json"  # in a pretrained synthetic model: whose facts it has read
