"""Constants of the synthetic data that checks of the configuration share with the jobs."""

SYNTHETIC_POSITIONS = 512  # max_position_embeddings of the synthetic models
MOST_OPERATIONS = 7  # of a synthetic math problem
FACTS_FILE = "synthetic-facts.json"  # in a pretrained synthetic model: whose facts it has read
