"""Throughput and latency, measured side by side: engines in processes of their own, rounds interleaved."""
