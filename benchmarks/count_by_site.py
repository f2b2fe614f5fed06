"""The peer of an import: DuckDB reads the same files and counts the answered records of each site, nothing more.

`python -m benchmarks.count_by_site CDR_FOLDER DEVICES_CSV`
"""

from __future__ import annotations

import sys

import duckdb

from collector.cdr.cucm_layout import CDR, ORDER


def main() -> None:
    """Count and print."""
    folder, devices = sys.argv[1:]
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in ORDER[CDR])
    with duckdb.connect(config={"threads": 2, "memory_limit": "1500MB"}) as connection:
        rows = connection.execute(
            f"""
            SELECT d.site, count(*), sum(r.duration::BIGINT)
            FROM read_csv('{folder}/cdr_*', auto_detect = false, header = false, skip = 2, delim = ',', quote = '"',
                columns = {{{columns}}}) r
            LEFT JOIN read_csv('{devices}', header = true, all_varchar = true) d ON d.device = r.origDeviceName
            WHERE r.dateTimeConnect <> '0' GROUP BY d.site ORDER BY d.site
            """  # noqa: S608 -- our own names
        ).fetchall()
    for row in rows:
        print(*row)


if __name__ == "__main__":
    main()
