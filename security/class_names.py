"""
No class name stands for two things: each is defined once in the whole house. `python -m security.class_names`.

A reader who meets a name then knows the class, and docs/words.md can name it. Tests, benchmarks and examples may repeat a name.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("canonical", "adapters", "flows", "ironbridge")
TO_DO = {
    "Company": "SandboxCompany in flows/business_central/sandbox_company.py",
    "Difference": "Disagreement in ironbridge/operate/reconcile/certificate.py",
    "Document": "LedgerDocument in adapters/payables/documents.py",
    "Fault": "CellFault in adapters/payables/rows.py",
    "Job": "PendingWrite in flows/business_central/job.py",
    "Known": "ProviderAnswer in ironbridge/console/sign_in.py",
    "Line": "LedgerLine in adapters/payables/rows.py, DrawnLine in ironbridge/console/drawing.py",
    "Mark": "Touched in flows/engine/ledger.py",
    "Opened": "WholeFile in adapters/payables/reading.py",
    "Person": "SignedIn in ironbridge/console/access.py",
    "Place": "DrawnSystem in ironbridge/console/picture.py",
    "Placement": "PlacementBody in flows/dfe_csc/sandbox.py",
    "Reading": "TableReading in adapters/kit/sql.py, FileReading in adapters/payables/reading.py",
    "Record": "HeldRecord in flows/business_central/wire.py",
    "Scratch": "FileScratch in adapters/payables/scratch.py",
    "Session": "SqlSession in adapters/kit/sql_session.py",
    "Stand": "SubjectRow in ironbridge/store/subjects.py",
    "State": "MemoryState in adapters/testing/stand_ins.py",
    "Tally": "RowTally in adapters/payables/rows.py",
    "Work": "Doing in flows/testing/suite.py",
}
"""Names that were there twice before the rule, with a proposal. None is added; one that is mended goes from here."""


def found(root: Path = ROOT, to_do: Iterable[str] = TO_DO) -> list[str]:
    """A sentence for each name that two classes have, and for each name that has no business in the list of those to do."""
    left, places = set(to_do), defaultdict(list)
    for name, place in _classes(root):
        places[name].append(place)
    twice = {name: where for name, where in places.items() if len(where) > 1}
    return [
        *(f"{', '.join(twice[each])}: `{each}` names {len(twice[each])} classes" for each in sorted(twice.keys() - left)),
        *(f"`{each}` is no longer there twice: take it from TO_DO" for each in sorted(left - twice.keys())),
    ]


def _classes(root: Path) -> Iterator[tuple[str, str]]:
    for file in (file for room in ROOMS for file in sorted((root / room).rglob("*.py"))):
        if "tests" not in file.relative_to(root).parts:
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.ClassDef):
                    yield node.name, f"{file.relative_to(root)}:{node.lineno}"


def main() -> int:
    breaches = found()
    for each in breaches:
        print(each, file=sys.stderr)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
