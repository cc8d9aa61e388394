"""Problems in a labelled file that would inflate the metrics of a model trained on it. Needs no torch."""
