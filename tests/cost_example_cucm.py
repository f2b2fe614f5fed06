"""The calls of the worked example as a CUCM cluster would have written them."""

from __future__ import annotations

import csv
import uuid
from collections.abc import Iterator
from pathlib import Path

EVERY_MINUTE = 500
"""Records in one file."""


def columns(golden: Path, record: str = "CDR") -> list[tuple[str, str]]:
    """Names and types of CUCM's columns, in their order."""
    with (golden / "cucm_fields.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [(row["field"], row["type"]) for row in rows if row["record"].upper() == record]


def rows(golden: Path) -> Iterator[dict[str, str]]:
    """A row for each call of the example, `n` times, each with identifiers of its own."""
    with (golden / "cost_example" / "calls.csv").open(encoding="utf-8") as file:
        calls = list(csv.DictReader(file))
    for number, call in enumerate(calls):
        for copy in range(int(call["n"])):
            # Copies are calls of their own: their legs and references lie a million apart.
            apart = copy * 1_000_000
            connect, seconds = int(call["connect"]), int(call["duration"])
            began = connect or 1_760_000_000 + number
            yield {
                "cdrRecordType": "1",
                "globalCallID_callManagerId": "1",
                "globalCallID_callId": str(int(call["callid"]) + apart),
                "globalCallId_ClusterID": "Example",
                "origLegCallIdentifier": str(int(call["orig_leg"]) + apart),
                "destLegIdentifier": str(int(call["dest_leg"]) + apart),
                # Transfers follow each other: the consultation of c4 begins while the first call still runs.
                "dateTimeOrigination": str(1_759_496_510 if call["row"] == "c4b" else began),
                "dateTimeConnect": str(connect),
                "dateTimeDisconnect": str(1_759_496_520 if call["row"] == "c4b" else began + seconds),
                "duration": str(seconds),
                "callingPartyNumber": call["calling"],
                "originalCalledPartyNumber": call["called"],
                "finalCalledPartyNumber": call["called"],
                "origDeviceName": call["orig_dev"],
                "destDeviceName": call["dest_dev"],
                "origCause_value": call["orig_cause"],
                "destCause_value": call["dest_cause"],
                "lastRedirectRedirectReason": call["redirect_reason"],
                "joinOnBehalfOf": call["join_on_behalf"],
                "origConversationId": str(int(call["orig_conv_id"]) + apart if call["orig_conv_id"] != "0" else 0),
                "pkid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{call['row']} {copy}")),
            }


def write(golden: Path, folder: Path) -> list[Path]:
    """Write the example as files of a cluster, a file a minute; return them."""
    named = columns(golden)
    made = []
    every = list(rows(golden))
    for number, first in enumerate(range(0, len(every), EVERY_MINUTE)):
        path = folder / f"cdr_Example_01_2025110100{number:02d}_{number + 1}"
        with path.open("w", encoding="utf-8", newline="") as file:
            file.write(",".join(f'"{name}"' for name, _ in named) + "\n")
            file.write(",".join(kind for _, kind in named) + "\n")
            for row in every[first : first + EVERY_MINUTE]:
                cells = (
                    row.get(name, "0" if kind == "INTEGER" else "") if kind == "INTEGER" else f'"{row.get(name, "")}"'
                    for name, kind in named
                )
                file.write(",".join(cells) + "\n")
        made.append(path)
    return made
