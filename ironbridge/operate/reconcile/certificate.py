"""A certificate tells an auditor what a comparison found: names of records and fields, never a value."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from ironbridge.store import Store, certificates
from ironbridge.store.certificates import KeptCertificate


class Where(StrEnum):
    """This names the side of a pair that is not as it should be."""

    CANONICAL = "canonical"
    """What the flow knows from the events, held against the legacy systems."""
    CLOUD = "cloud"
    """What the target holds, held against what it should hold given those facts."""


class Kind(StrEnum):
    MISSING = "missing"
    """It is not there at all."""
    STALE = "stale"
    """It is as it was before: what came since has not arrived."""
    EXTRA = "extra"
    """It is there and should not be."""
    DIFFERENT = "different"
    """It is as nobody of ours has ever written it."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """
    One record that two sides do not agree on, and went on not to agree on when it was looked at again.

    `key` is the record's key, or the target's own id of what no subject of the flow stands for. `fields` are the names of
    those that differ. `why` is what the state knows of it, with what to do where there is something.
    """

    where: Where
    kind: Kind
    key: str
    what: str
    fields: tuple[str, ...] = ()
    why: str = ""


@dataclass(slots=True)
class Compared:
    """
    One pair of sides. `how` says what the comparison stands on; `looked` counts records, `agreed` those alike on both sides.
    `moved` were changed while they were compared: nothing is said of them. `untold` could not be compared, `notes` say why.
    """

    where: Where
    what: str
    how: str
    looked: int = 0
    agreed: int = 0
    moved: int = 0
    untold: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Certificate:
    """
    A certificate says what a comparison of all sides of one flow found. Times are UTC.

    `verified` is the moment when reading began: what was changed before it has been compared, what was changed since
    is not spoken of.
    """

    flow: str
    verified: datetime
    finished: datetime
    release: str
    by: str
    parts: list[Compared] = field(default_factory=list)
    differences: list[Disagreement] = field(default_factory=list)
    id: int | None = None

    @property
    def agreed(self) -> bool:
        """All that could be compared agrees, and nothing was left uncompared."""
        return not self.differences and not any(part.untold for part in self.parts)

    @property
    def counts(self) -> dict[tuple[Where, Kind], int]:
        return dict(Counter((d.where, d.kind) for d in self.differences))

    def as_dict(self) -> dict[str, Any]:
        counts = [{"where": w, "kind": k, "records": n} for (w, k), n in sorted(self.counts.items())]
        return {
            "flow": self.flow,
            "verified_through": _written(self.verified),
            "finished": _written(self.finished),
            "release": self.release,
            "by": self.by,
            "agreed": self.agreed,
            "counts": counts,
            "parts": [asdict(part) for part in self.parts],
            "differences": [asdict(difference) for difference in self.differences],
        }

    def as_json(self) -> str:
        return json.dumps(self.as_dict(), indent=2)

    @property
    def verdict(self) -> str:
        """One sentence that says how it stands."""
        untold = sum(part.untold for part in self.parts)
        if self.differences:
            return f"They do not agree: {len(self.differences):,} differences."
        return f"No difference was found, but {untold:,} could not be compared." if untold else "They agree."

    def as_html(self) -> str:
        """A page that stands alone and can be printed."""
        from jinja2 import Environment, PackageLoader, select_autoescape  # only who prints a certificate needs it

        pages = Environment(loader=PackageLoader(__package__, "."), autoescape=select_autoescape())
        return pages.get_template("certificate.html").render(
            c=self, verdict=self.verdict, sides=_SIDES, kinds=_KINDS, written=_for_people
        )

    def write_to(self, folder: Path) -> list[Path]:
        """Write it into a folder in all three forms, named after the flow and the moment; the files."""
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{self.flow}-{self.verified.astimezone(UTC):%Y%m%dT%H%M%SZ}"
        forms = {"html": self.as_html, "csv": self.as_csv, "json": self.as_json}
        files = [folder / f"{name}.{form}" for form in forms]
        for file, written in zip(files, forms.values(), strict=True):
            file.write_text(written(), encoding="utf-8", newline="")
        return files

    def as_csv(self) -> str:
        """One line a difference; the certificate's own particulars are repeated on each, so that no line stands alone."""
        out = io.StringIO()
        sheet = csv.writer(out)
        sheet.writerow(("flow", "verified through", "where", "kind", "record", "what", "fields", "why"))
        for d in self.differences:
            row = (self.flow, _written(self.verified), d.where, d.kind, d.key, d.what, "; ".join(d.fields), d.why)
            sheet.writerow([_harmless(str(cell)) for cell in row])
        return out.getvalue()


def certificate_of(document: dict[str, Any]) -> Certificate:
    """A certificate from what `as_dict` gave."""
    return Certificate(
        document["flow"], _read(document["verified_through"]), _read(document["finished"]), document["release"],
        document["by"], [Compared(**part | {"where": Where(part["where"])}) for part in document["parts"]],
        [
            Disagreement(Where(d["where"]), Kind(d["kind"]), d["key"], d["what"], tuple(d["fields"]), d["why"])
            for d in document["differences"]
        ],
    )  # fmt: skip


async def keep(store: Store, certificate: Certificate) -> Certificate:
    """Keep a certificate in the state, so that the console can show it and hand it out again."""
    verified, document = certificate.verified.timestamp(), to_json(certificate.as_dict())
    certificate.id = await certificates.keep(store, certificate.flow, verified, certificate.agreed, document)
    return certificate


async def kept(store: Store, flow: str | None = None, most: int = 20) -> Sequence[KeptCertificate]:
    """The newest certificates first, of one flow or of all."""
    return await certificates.newest(store, flow, most)


async def kept_one(store: Store, number: int) -> Certificate | None:
    """A certificate that was kept, by its id."""
    document = await certificates.document(store, number)
    if document is None:
        return None
    certificate = certificate_of(from_json(document))
    certificate.id = number
    return certificate


_SIDES = {
    Where.CANONICAL: "canonical, against legacy",
    Where.CLOUD: "cloud, against canonical",
}
_KINDS = {
    Kind.MISSING: "it is not there",
    Kind.STALE: "it is as it was before",
    Kind.EXTRA: "it is there and should not be",
    Kind.DIFFERENT: "it is as nobody of ours wrote it",
}


def _for_people(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _read(written: str) -> datetime:
    return datetime.fromisoformat(written)


def _harmless(cell: str) -> str:
    """A spreadsheet takes a cell that begins so for a formula, and a key may come from a legacy system."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
