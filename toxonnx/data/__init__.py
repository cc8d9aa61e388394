"""Labelled rows, their splits and fingerprints. Needs neither torch nor transformers."""
