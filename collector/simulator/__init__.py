"""Traffic with known truth, for samples, accuracy tests and benchmarks.

`traffic.StreamPlan` says what a sender sends and what a network does to it; `traffic.captured` yields the packets a tap
would see; `truth.measure` says, slowly and exactly, what any correct tool must find in them. `signalling.CallPlan` does
the same for SIP. `frames` and `capture_writer` put either into pcap and pcapng files. `bulk_rtp` and `bulk_sip` write
captures of millions of packets with known totals. `relay` impairs the media of real endpoints and writes down how.
"""
