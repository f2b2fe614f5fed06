"""What is known of one site's streams, counted by hand."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from lake_rows import BEGIN, rows

from analytics.questions.asking import share
from analytics.questions.one_site import MOST_DEVICES, Device, site_detail
from analytics.store.lake import Lake

HOUR = timedelta(hours=1)


def stream(number: int, sender: str | None, receiver: str | None, **more: Any) -> pa.Table:
    made = {"site": sender, "other_site": receiver, "dscp": 46, "mos": 4.4, "lost": 0, "expected": 100,
            "evidence": "measured", "from_address": f"{sender}-1:{4_000 + number}",
            "to_address": f"{receiver}-1:{6_000 + number}"} | more  # fmt: skip
    return rows("streams", [number], **made)


def test_marks_are_counted_by_direction_and_devices_by_address_whatever_the_port(tmp_path: Path) -> None:
    made = [
        stream(1, "york", "hull"),
        stream(2, "york", None, dscp=0, mos=2.0, lost=10),
        stream(3, "hull", "york", dscp=None, mos=None, evidence="reported"),
        stream(4, "york", "york", from_address="[2001:db8::1]:4004"),
        stream(5, "hull", "whitby"),
    ]
    lake = Lake.open(tmp_path / "store", create=True)
    lake.append("streams", pa.concat_tables(made), batch="one")
    found = site_detail(lake, "york", BEGIN, BEGIN + HOUR)
    assert found.sent_marks == {46: 2, 0: 1}
    assert found.received_marks == {46: 1, None: 1}
    assert found.evidence == {"measured": 3, "reported": 1}
    assert found.addresses == 2
    # The stream within the site has an end at both of its devices.
    assert found.devices == (
        Device("york-1", 4, share(1, 3), (4.4 + 2.0 + 4.4) / 3, 2.5),
        Device("[2001:db8::1]", 1, share(0, 1), 4.4, 0.0),
    )
    lake.close()


def test_only_the_devices_with_the_most_poor_streams_are_listed(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path / "store", create=True)
    many = [stream(number, "york", None, from_address=f"10.0.0.{number}:4000") for number in range(1, 13)]
    many.append(stream(13, "york", None, from_address="10.0.0.99:4000", mos=1.5))
    lake.append("streams", pa.concat_tables(many), batch="one")
    found = site_detail(lake, "york", BEGIN, BEGIN + HOUR)
    assert found.addresses == 13
    assert len(found.devices) == MOST_DEVICES
    assert found.devices[0].address == "10.0.0.99"
    lake.close()
