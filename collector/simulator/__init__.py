"""Traffic with known truth, for samples, accuracy tests and benchmarks."""
