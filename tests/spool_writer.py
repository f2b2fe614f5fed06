"""A process that appends to a spool until it is killed.

It prints the sequence that it begins after, then the last one each time `append` returned.
"""

from __future__ import annotations

import sys
from pathlib import Path

from analytics.store.spool import Spool, SpoolSettings


def payload(sequence: int) -> bytes:
    """Return what the record of a sequence holds: lengths from 0 to 4,000 octets, the number itself repeated."""
    return (b"%d," % sequence) * (sequence * 7 % 1_000)


def main(root: Path) -> None:
    with Spool.open(root, SpoolSettings(segment_octets=50_000, durable=False)) as spool:
        sequence = spool.counts().appended
        sys.stdout.write(f"{sequence}\n")
        while True:
            if sequence % 5 == 0:
                kept = spool.peek(records=3)
                if kept and kept[0].sequence % 4 == 0:
                    spool.acknowledge(kept[0].sequence)
            sequence = spool.append([payload(sequence + number) for number in range(1, 1 + sequence % 3 + 1)])
            sys.stdout.write(f"{sequence}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
