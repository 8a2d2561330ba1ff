"""The synthetic world: people, facts, texts, tasks, and the reference models trained on them."""
