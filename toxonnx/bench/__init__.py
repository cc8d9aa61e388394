"""Throughput and latency of a bundle compared with other engines, each in its own process, in interleaved rounds."""
