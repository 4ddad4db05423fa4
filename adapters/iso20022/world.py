"""
An invented finance system that tells its bank whom to pay: every run is a pain.001.001.09 message. Nobody in it exists.

`python -m adapters.iso20022.world FOLDER --size 100` makes one; `--change 1` makes another run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from lxml import etree
from lxml.builder import ElementMaker

from adapters.kit.files import FilesSettings
from adapters.kit.files_world import FilesWork, FilesWorld, Sheets, put_whole

_NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
_PAYEES = ("Severn Domiciliary Ltd", "Loton Supplies", "Oaklea Care Homes", "Wrekin Transport", "Teme Valley Fostering")
_A_RUN = 25
E = ElementMaker(namespace=_NAMESPACE, nsmap={None: _NAMESPACE})


def write_pain001(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write a run as a message with one PmtInf, whose totals agree. The accounts in it are no accounts."""
    message, day = (rows[0]["message"], rows[0]["day"]) if rows else ("EMPTY", "2026-01-01")
    count, total = str(len(rows)), str(sum((Decimal(row["amount"]) for row in rows), Decimal(0)))
    head = E.GrpHdr(E.MsgId(message), E.CreDtTm(f"{day}T09:00:00Z"), E.NbOfTxs(count), E.CtrlSum(total))
    payer = E.Dbtr(E.Nm("Anyshire Council")), E.DbtrAcct(E.Id(E.IBAN("GB00NONE00000000000000")))
    about = E.PmtInfId(f"{message}-1"), E.PmtMtd("TRF"), E.NbOfTxs(count), E.CtrlSum(total), E.ReqdExctnDt(E.Dt(day))
    document = E.Document(E.CstmrCdtTrfInitn(head, E.PmtInf(*about, *payer, *map(_transfer, rows))))
    put_whole(path, etree.tostring(document, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _transfer(row: Mapping[str, str]) -> Any:
    return E.CdtTrfTxInf(
        E.PmtId(E.EndToEndId(row["id"])),
        E.Amt(E.InstdAmt(row["amount"], Ccy=row["currency"])),
        E.Cdtr(E.Nm(row["creditor"])),
        E.CdtrAcct(E.Id(E.IBAN("GB00NONE00000000000001"))),
        E.RmtInf(E.Strd(E.RfrdDocInf(E.Nb(row["document"])))),
    )


def read_pain001(path: Path) -> list[dict[str, str]]:
    """Read a run that `write_pain001` wrote."""
    root, names = etree.parse(path, etree.XMLParser(resolve_entities=False)).getroot(), {"p": _NAMESPACE}
    places = {
        "message": "//p:MsgId", "day": "//p:ReqdExctnDt/p:Dt", "id": "p:PmtId/p:EndToEndId", "amount": "p:Amt/p:InstdAmt",
        "currency": "p:Amt/p:InstdAmt/@Ccy", "creditor": "p:Cdtr/p:Nm", "document": "p:RmtInf/p:Strd/p:RfrdDocInf/p:Nb",
    }  # fmt: skip
    each = root.iterfind(".//p:CdtTrfTxInf", names)
    return [{name: one.xpath(f"string({place})", namespaces=names) for name, place in places.items()} for one in each]


def run(number: int, size: int, rng: Random, day: date) -> list[dict[str, str]]:
    """Make up the transfers of one run."""
    return [
        {
            "message": f"ANYSHIRE-{number:05}", "day": day.isoformat(), "id": f"E{number:05}-{n}",
            "creditor": rng.choice(_PAYEES), "amount": str(Decimal(rng.randint(1_000, 900_000)) / 100), "currency": "GBP",
            "document": f"INV{rng.randint(0, 999_999):06}",
        }
        for n in range(1, size + 1)
    ]  # fmt: skip


def _story(transfers: int, seed: int, today: date) -> tuple[Sheets, int]:
    rng = Random(seed)  # noqa: S311 (a story, not a secret)
    sizes = [min(_A_RUN, transfers - done) for done in range(0, transfers, _A_RUN)]
    days = [today - timedelta(days=7 * (len(sizes) - n)) for n in range(1, len(sizes) + 1)]
    return {f"run-{n:05}.xml": run(n, size, rng, day) for n, (size, day) in enumerate(zip(sizes, days, strict=True), 1)}, 0


def _another_run(work: FilesWork) -> str:
    number = len(work.sheets) + 1
    work.sheets[f"run-{number:05}.xml"] = run(number, 5, work.rng, work.today)
    return f"Message ANYSHIRE-{number:05} pays 5 creditors."


def _an_amount_is_corrected(work: FilesWork) -> str:
    transfer = work.rng.choice(work.sheets[min(work.sheets)])
    transfer["amount"] = str(Decimal(transfer["amount"]) + 1)
    return f"Message {transfer['message']} is exported again: one of its amounts was a pound too small."


def _section(folder: Path) -> dict[str, Any]:
    return {"folders": [str(folder / "iso20022")], "settle": 0, "every": 1}


WORLD: FilesWorld[FilesSettings] = FilesWorld(
    "iso20022", "transfers", 100, _story, (_another_run, _an_amount_is_corrected), _section,
    read=read_pain001, write=write_pain001,
)

if __name__ == "__main__":
    WORLD.main()
