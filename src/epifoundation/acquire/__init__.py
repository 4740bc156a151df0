"""Accessions to verified files."""
