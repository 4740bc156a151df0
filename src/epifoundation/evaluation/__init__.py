"""Metrics, baselines and controls."""
