"""
Business Central, brought into agreement: look, send the difference, judge each answer.

There is no upsert. The target first looks up every document whose state is not certain, by its id or by its number, and
only then creates or changes it. So after a lost answer, or a crash between a document and its dimensions, the document is
found and completed, never doubled. Business Central does not refuse the second of two creates that two workers send at
once: after a doubt the target looks for the number once more, and reports a doubled document (`job.py`). All of it goes
in `$batch` requests: for a hundred subjects one request to look and one to write.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Iterable, Sequence

import httpx

from canonical.errors import MisconfiguredError, UnavailableError
from canonical.finding import Finding
from canonical.turns import in_turns
from flows.business_central.company import Company
from flows.business_central.documents import LINES_OF, VENDOR, recalled_vendor
from flows.business_central.job import Job, Turns, waves
from flows.business_central.odata import (
    FIX_COMPANY,
    GARBLED,
    NO_COMPANY,
    NOT_ITS_FORM,
    Answer,
    Operation,
    Reply,
    Service,
    no_company,
)
from flows.business_central.settings import BusinessCentralSettings
from flows.business_central.wire import SET_OF, Plan, Wire, lines_of
from flows.kit.odata import literal, query
from flows.port import (
    Absent,
    Held,
    Holding,
    Limits,
    NotDone,
    Outcome,
    ReadBack,
    Refused,
    Unavailable,
    Unknown,
    Untold,
    Waiting,
    Write,
)

WINDOW = 300.0
_ROUNDS = 4  # a document and its lines, the lines' dimensions, a look at it, one more where somebody came between
_CHANGED = "somebody changed it since we read it"


class BusinessCentralTarget:
    """
    One company. A write is a `$batch` to look up and one to write. One more looks at what became of new documents and of
    dimensions, because the answers do not show it; and one writes the dimensions of new lines before, after a look at their ids.
    """

    def __init__(self, name: str, settings: BusinessCentralSettings, http: httpx.AsyncClient) -> None:
        self.name = name
        self.limits = limits_of(settings)
        self._settings = settings
        self._service = Service(name, settings, http)
        self._company = Company(self._service)
        self._wire = Wire(settings.edition, self._company)
        self._turns = Turns()

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        jobs = [Job(write) for write in batch]
        async with self._turns.taken(name for job in jobs for name in job.names):
            await self._codes(jobs)
            for wave in waves(jobs):
                await self._agree(wave)
        return [job.outcome or Unknown(_CHANGED) for job in jobs]

    async def _agree(self, jobs: Sequence[Job]) -> None:
        for _ in range(_ROUNDS):
            if waiting := [job for job in jobs if job.outcome is None]:
                await self._look([job async for job in in_turns(waiting) if not job.quick(self._wire)])
                await self._send([job for job in waiting if job.outcome is None])

    async def read_back(self, batch: Sequence[Write]) -> Sequence[ReadBack]:
        jobs = [Job(write) for write in batch]
        if any(job.kind in LINES_OF for job in jobs) and (trouble := await self._company.know([])):
            return [Untold(trouble.reason)] * len(jobs)  # without the accounts' numbers no line can be told
        await self._look(jobs)
        return [self._told(job) async for job in in_turns(jobs)]

    async def holdings(self) -> AsyncIterator[Sequence[Holding]]:
        """Every vendor, purchase invoice and purchase credit memo of the company, with lines and dimensions."""
        if trouble := await self._company.know([]):
            raise UnavailableError(self.name, trouble.reason)
        for kind in SET_OF:
            seen: set[str] = set()
            url: str | None = self._wire.listing(kind)
            while url:
                if url in seen:
                    raise UnavailableError(self.name, f"{SET_OF[kind]}: their pages go round in a circle")
                seen.add(url)
                page = await self._page(url)
                try:
                    held = [self._wire.holding(kind, row) async for row in in_turns(page.rows())]
                except NOT_ITS_FORM:
                    raise UnavailableError(self.name, f"{SET_OF[kind]}: {GARBLED}") from None
                yield held
                url = page.body.get("@odata.nextLink")

    async def _page(self, url: str) -> Answer:
        reply = await self._service.get(url)
        if not isinstance(reply, Answer):
            raise UnavailableError(self.name, reply.reason)
        if reply.code == NO_COMPANY:
            raise no_company(self.name)
        if not reply.well:
            raise UnavailableError(self.name, f"what it holds cannot be listed: {reply.status} {reply.code}")
        return reply

    def told(self, holding: Holding, write: Write) -> Held:
        job = Job(write, held=holding.shown)
        told = self._told(job)
        return told if isinstance(told, Held) else Held({}, holding.ref)

    async def check(self) -> Sequence[Finding]:
        try:
            findings = [await self._may_read(*asked) for asked in _ASKED]
            if all(finding.well for finding in findings):
                findings += await self.check_codes([], [])
        except MisconfiguredError as error:
            return [Finding(error.what, False, error.fix)]
        return findings

    async def columns(self, kind: str) -> Collection[str] | None:
        return self._wire.fields(kind) if kind in SET_OF else None

    async def check_codes(self, dimensions: Sequence[str], accounts: Sequence[str]) -> list[Finding]:
        """
        Check whether the company has these dimensions and accounts; one finding each. A flow's check asks for what its
        settings name.

        :raises MisconfiguredError: as `write`.
        """
        if trouble := await self._company.know([], dimensions):
            return [Finding(trouble.reason, False, "let the application read accounts and dimensions")]
        there = self._company.dimensions
        findings = [Finding(f"dimension {c}", c in there, "" if c in there else _MAKE_DIMENSION.format(c)) for c in dimensions]
        for account in accounts:
            well = self._company.missing([{"sequence": 0, "account": account}]) is None
            findings.append(Finding(f"account {account}", well, "" if well else _MAKE_ACCOUNT.format(account)))
        return findings

    # -- the company's codes ---------------------------------------------------------------------------------------

    async def _codes(self, jobs: Sequence[Job]) -> None:
        """Refuse the documents that name an account or a dimension value which the company does not have."""
        with_lines = [job for job in jobs if lines_of(job.write.document)]
        if not with_lines:
            return
        trouble = await self._company.know([lines_of(job.write.document) for job in with_lines])
        async for job in in_turns(with_lines):
            missing = None if trouble else self._company.missing(lines_of(job.write.document))
            if missing:
                job.outcome = Refused(f"{missing}: the company has no such code")
            else:
                job.outcome = trouble

    # -- looking ---------------------------------------------------------------------------------------------------

    async def _look(self, jobs: Sequence[Job]) -> None:
        """Read the held documents: by id if there is one, by number if there is none or if others may exist besides."""
        for job in jobs:
            job.look()
        doubted = [job for job in jobs if job.doubted]
        await self._by_number(doubted)
        known = [job for job in jobs if job.ref and job.ref not in job.found and job.trouble is None]
        await self._found([(job, self._wire.by_ref(job.kind, job.ref or "")) for job in known], by_ref=True)
        await self._by_number([job for job in jobs if not job.ref and not job.doubted and job.trouble is None])
        for job in jobs:
            job.seen()

    async def _by_number(self, jobs: Sequence[Job]) -> None:
        left = [(job, self._whose(job)) for job in jobs if job.numbers]
        while left:
            asked = [(job, self._wire.by_number(job.kind, job.numbers, whose.pop(0))) for job, whose in left]
            await self._found(asked, by_ref=False)
            left = [(job, whose) for job, whose in left if whose and not job.found and job.trouble is None]

    def _whose(self, job: Job) -> list[str | None]:
        """
        The vendors from whom a document may be, to be asked for one after another: Business Central takes no `or` between two
        fields (its known limitations of OData). The last are those of documents whose vendor's id is forgotten (`recall`).
        """
        recalled = {document.refers.get("vendorId") for document in job.write.doubtful if not document.body}
        numbers = [recalled_vendor(key, self._settings) for key in sorted(filter(None, recalled))]
        whose: list[str | None] = [f"vendorId eq {job.vendor}"] if job.vendor else []
        return whose + [f"vendorNumber eq {literal(number)}" for number in numbers] or [None]

    async def _found(self, asked: Sequence[tuple[Job, Operation]], *, by_ref: bool) -> None:
        replies = await self._service.send([operation for _, operation in asked])
        async for (job, operation), reply in in_turns(zip(asked, replies, strict=True)):
            if isinstance(reply, Answer) and reply.well:
                try:
                    rows = [reply.body] if by_ref else reply.rows()
                    records = [self._wire.record(job.kind, row) for row in rows]
                    job.found |= {record.ref: record for record in records}
                except NOT_ITS_FORM:
                    job.trouble = Unknown(f"{SET_OF[job.kind]}: {GARBLED}")
            elif isinstance(reply, Answer) and by_ref and reply.status == 404 and reply.code != NO_COMPANY:
                job.ref = None  # somebody deleted it there: perhaps to make it anew
            else:
                job.trouble = _outcome(self.name, operation, reply)

    def _told(self, job: Job) -> ReadBack:
        if job.trouble is not None:
            return Untold(getattr(job.trouble, "reason", "it cannot be read"))
        if job.held is None:
            return Absent()
        document = job.write.document
        body = self._wire.body(job.held, document, job.earlier, job.vendor) if document else {}
        return Held(body, job.held.ref, job.held.tag)

    # -- sending ---------------------------------------------------------------------------------------------------

    async def _send(self, jobs: Sequence[Job]) -> None:
        plans: list[tuple[Job, Plan]] = []
        async for job in in_turns(jobs):
            if job.trouble is not None:
                job.fail(job.trouble)
                continue
            plan = job.plan(self._wire)
            if not plan.operations:
                job.outcome = job.confirmed()
            elif job.made and job.held is None:
                job.outcome = Unknown("created, but a later look does not find it")
            elif job.crossed or (job.begun and job.held is None):
                job.outcome = Unknown(_CHANGED)
            else:
                plans.append((job, plan))
        # A vendor goes only after its documents: Business Central keeps one that has any.
        plans.sort(key=lambda planned: planned[0].kind == VENDOR and planned[0].write.document is None)
        replies = iter(await self._service.send([operation for _, plan in plans for operation in plan.operations]))
        async for job, plan in in_turns(plans):
            self._judge(job, plan, [(operation, next(replies)) for operation in plan.operations])
        refused = [job for job, _ in plans if isinstance(job.outcome, Refused)]
        await self._vendors_gone([job for job in refused if job.vendor])
        await self._vendors_kept([job for job in refused if job.kind == VENDOR and job.write.document is None])

    def _judge(self, job: Job, plan: Plan, answers: Sequence[tuple[Operation, Reply]]) -> None:
        bad = [(operation, reply) for operation, reply in answers if not _well(operation, reply)]
        if not bad:
            job.learn(self._wire, plan, answers)
        elif all(isinstance(reply, Answer) and _crossed(reply) for _, reply in bad):
            job.crossed = True
        else:
            job.fail(_failed(self.name, bad), partly=len(bad) < len(answers))

    async def _vendors_gone(self, jobs: Sequence[Job]) -> None:
        """A document may have been refused because its vendor is there no more: then it waits for the vendor."""
        asked = [Operation("GET", f"{SET_OF[VENDOR]}({job.vendor})?$select=id") for job in jobs]
        for job, reply in zip(jobs, await self._service.send(asked), strict=True):
            supplier = job.write.document.refers.get("vendorId") if job.write.document else None
            if supplier and isinstance(reply, Answer) and reply.status == 404:
                job.outcome = Waiting(on=supplier)

    async def _vendors_kept(self, jobs: Sequence[Job]) -> None:
        """A vendor may not have been deleted because it has documents: then the reason says so."""
        asked = [
            (job, Operation("GET", query(SET_OF[kind], filter=f"vendorId eq {job.ref}", top="1", select="id")))
            for job in jobs
            for kind in LINES_OF
        ]
        replies = await self._service.send([operation for _, operation in asked])
        for (job, _), reply in zip(asked, replies, strict=True):
            if isinstance(reply, Answer) and reply.well and reply.body.get("value"):
                job.outcome = Refused(_HAS_DOCUMENTS)

    # -- checking --------------------------------------------------------------------------------------------------

    async def _may_read(self, what: str, path: str, fix: str) -> Finding:
        reply = await self._service.get(path)
        if isinstance(reply, Answer):
            return Finding(what, True) if reply.well else Finding(f"{what}: {reply.status} {reply.code}", False, fix)
        return Finding(f"{what}: {reply.reason}", False, "try again; if it stays so, look at Microsoft's service health")


def limits_of(settings: BusinessCentralSettings) -> Limits:
    return Limits(settings.batch, settings.concurrency, settings.requests, WINDOW)


_HAS_DOCUMENTS = (
    "vendor: it is not deleted while it has purchase documents in Business Central. It goes once ours are gone; delete the "
    "others there, or give them to another vendor, then retry"
)
_TAKEN = "Internal_EntityWithSameKeyExists"
_MAKE_DIMENSION = "make dimension {} in the company"
_MAKE_ACCOUNT = "make G/L account {}, or map to one that there is"
_FIX_RIGHTS = "give the application a permission set in the company that reads and writes it"
_ASKED = (
    ("the company", "", FIX_COMPANY),
    ("vendors", "vendors?$top=1&$select=id", _FIX_RIGHTS),
    ("purchase invoices", "purchaseInvoices?$top=1&$select=id", _FIX_RIGHTS),
    ("purchase credit memos", "purchaseCreditMemos?$top=1&$select=id", f"{_FIX_RIGHTS}; API v1.0 has none: use v2.0"),
)


def _well(operation: Operation, reply: Reply) -> bool:
    if not isinstance(reply, Answer):
        return False
    return reply.well or (operation.method == "DELETE" and reply.status == 404 and reply.code != NO_COMPANY)


def _crossed(answer: Answer) -> bool:
    """Somebody changed, made or deleted it since we looked."""
    return (answer.status in (404, 409, 412) and answer.code != NO_COMPANY) or answer.code == _TAKEN


def _failed(where: str, bad: Iterable[tuple[Operation, Reply]]) -> Outcome:
    """Turn answers that are not well into an outcome; one that leaves a doubt outweighs all others, a lost one first."""
    return min((_outcome(where, operation, reply) for operation, reply in bad), key=_certainty)


def _certainty(outcome: Outcome) -> int:
    if isinstance(outcome, Unknown):
        return 0
    return 1 if isinstance(outcome, Unavailable) and not isinstance(outcome, NotDone) else 2


def _outcome(where: str, operation: Operation, reply: Reply) -> Outcome:
    if not isinstance(reply, Answer):
        return reply
    thing = re.sub(r"\([^)]*\)", "", operation.path.partition("?")[0]).rpartition("/")[2]
    said = f"{operation.method} {thing}: {reply.status} {reply.code}"
    if reply.code == NO_COMPANY:
        raise no_company(where)
    match reply.status:
        case 401 | 403:
            return NotDone(f"{said}: {_FIX_RIGHTS}")  # others of the batch are well: not a reason to stop them
        case 408 | 425 | 429 | 503:
            return NotDone(said, reply.wait) if operation.method == "GET" else Unavailable(said, reply.wait)
        case 409 | 412:
            return Unknown(_CHANGED)
        case status if status >= 500:
            return Unknown(said)  # it does not say how far it came
    return Refused(said)
