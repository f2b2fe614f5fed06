"""Everything that the estate's folder says, checked: where things are, what they cost, and tariffs."""

from __future__ import annotations

from pathlib import Path

from analytics.sites import Estate, Origin
from collector.estate.columns import TARIFFS_FOLDER
from collector.estate.costs import read_costs
from collector.estate.folder import read_estate
from collector.estate.problems import Problem, Problems
from collector.estate.tariffs import read_tariffs


def check_folder(root: Path) -> tuple[Estate, list[Problem]]:
    """Facts of the folder, and every problem of any of its files, by file and line."""
    estate, found = read_estate(root)
    if not root.is_dir():
        return estate, found
    problems = Problems()
    problems.extend(found)
    problems.extend(read_costs(root, {site.site for site in estate.sites})[1])
    if (root / TARIFFS_FOLDER).is_dir() or estate.settings.tariffs_stated:
        problems.extend(read_tariffs(root, estate.settings)[1])
    else:
        problems.warning(Origin(TARIFFS_FOLDER, 0), "no_tariffs", "there is no folder of tariffs: no call has a price")
    return estate, list(problems)
