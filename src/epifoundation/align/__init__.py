"""Reads to fragments and counts, in the layout of Cell Ranger ARC."""
