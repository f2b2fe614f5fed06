"""Capture files and pipes: containers, link layers, tunnels, reassembly."""
