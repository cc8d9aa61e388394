"""Metrics with intervals, calibration, functional suites, baselines and reports."""
