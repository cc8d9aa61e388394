"""Metrics with intervals, calibration, functional suites, and the reports made of them."""
