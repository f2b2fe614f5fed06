"""A small estate without a defect, written into a folder: tests change what they are about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

Changes = dict[str, str | bytes | None]

SOUND: Mapping[str, str] = {
    "estate.toml": '[estate]\nname = "Loamshire Police"\n',
    "sites.csv": "site,name,kind,parent,priority,valid_from,valid_to\n"
    "A,Ashby,station,,,,\nB,Brook,office,A,,2025-01-01,\n",
    "subnets.csv": "subnet,site,valid_from,valid_to\n10.1.0.0/24,A,,\n10.2.0.0/24,B,,\n",
    "pools.csv": "pool,site,valid_from,valid_to\nDP_B,B,,\n",
    "devices.csv": "device,site,pool,valid_from,valid_to\nSEP_A,A,,,\nSEP_B,,DP_B,,\n",
    "numbers.csv": "first,last,partition,site,valid_from,valid_to\n5000,5099,,A,,\n6000,6099,,B,,\n",
    "trunks.csv": "device,kind,site,channels,valid_from,valid_to\nGW,pstn,A,30,,\nREC,recording,,,,\n",
    "dialplans.csv": "site,access_digits,extension_digits,extension_first,area_code,emergency,valid_from,valid_to\n"
    ",9,4,56,0113,999 112,,\n",
    "public_numbers.csv": "number,label,site,target_seconds,target_share,valid_from,valid_to\n101,Calls,A,20,0.9,,\n",
    "holidays.csv": "date,name\n2025-12-25,Christmas Day\n",
}


def write_estate(folder: Path, changes: Changes | None = None) -> Path:
    """The sound estate with some files replaced (None: left out), and its folder."""
    for name, content in {**SOUND, **(changes or {})}.items():
        if content is not None:
            data = content.encode() if isinstance(content, str) else content
            (folder / name).write_bytes(data)
    return folder


def with_rows(name: str, *rows: str) -> Changes:
    """The sound file with rows after its own."""
    return {name: SOUND[name] + "".join(f"{row}\n" for row in rows)}


def only_rows(name: str, *rows: str) -> Changes:
    """The sound file's header with other rows."""
    header = SOUND[name].partition("\n")[0]
    return {name: "".join(f"{row}\n" for row in (header, *rows))}
