"""Fragments and counts to the labelled atlas and its token store."""
