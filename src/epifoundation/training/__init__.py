"""Pretraining and fine-tuning; joins data and model."""
