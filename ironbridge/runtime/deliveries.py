"""The flows of one process, each with the target that it writes to. A target is built once, however many flows it has."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial

from flows.engine.agree import Agreement
from flows.engine.patience import Access
from flows.kit.resources import Resources
from flows.port import Distinct, Flow, Target
from ironbridge.kafka.trail import KafkaTrail
from ironbridge.runtime.apart import KeptApart
from ironbridge.runtime.editions import edition, name_of
from ironbridge.runtime.systems import WITHIN, FlowPlan, TargetPlan
from ironbridge.settings import KafkaSettings
from ironbridge.store import Store, StoredLedger
from ironbridge.store.budget import SharedBudget
from ironbridge.store.trail import TrailedLedger


@dataclass
class Delivery:
    """A flow with its target, and the worker that keeps them in agreement. Several flows may have the same target."""

    flow: Flow
    target: Target
    agreement: Agreement
    ledger: StoredLedger
    within: float = WITHIN
    """Seconds within which a changed subject is expected to be confirmed or parked."""
    budget: SharedBudget | None = None
    """What is left of the target's budget, for whoever watches."""
    others: tuple[str, ...] = ()
    """The other flows that write to the target."""

    @property
    def distinct(self) -> bool:
        """Tell whether no two subjects of the flow ever have documents of one name."""
        return isinstance(self.flow, Distinct)


@dataclass
class Connections:
    """
    Connects flows with their targets; `stack` closes what they need. Flows of one target share its connections, its budget and
    what it asks for.
    """

    kafka: KafkaSettings
    store: Store
    stack: AsyncExitStack
    _shared: dict[str, tuple[Target, Access]] = field(default_factory=dict)

    async def delivery(self, plan: FlowPlan) -> Delivery:
        at = plan.target
        if at.name not in self._shared:
            self._shared[at.name] = await _built(at, self.store, self.stack)
        return _delivery(self.kafka, self.store, plan, *self._shared[at.name], self.stack)


async def _built(plan: TargetPlan, store: Store, stack: AsyncExitStack) -> tuple[Target, Access]:
    async with AsyncExitStack() as own:  # what a target was given that could not be built is closed at once
        resources = await own.enter_async_context(Resources(plan.name, partial(SharedBudget, store, plan.name)))
        target = plan.build(resources)
        stack.push_async_exit(own.pop_all())
    return target, Access(target.limits)


def _delivery(
    kafka: KafkaSettings, store: Store, plan: FlowPlan, target: Target, access: Access, stack: AsyncExitStack
) -> Delivery:
    flow = plan.build()
    trail = KafkaTrail(kafka, plan.name, flow.entities, store.clock)
    stack.push_async_callback(trail.close)
    ledger = TrailedLedger(store, flow, trail)
    budget = SharedBudget(store, plan.target.name, target.limits)
    writes = KeptApart(target, plan.name, store) if plan.others else target
    named = edition(name_of(type(flow)), flow.entities, flow.settings)
    agreement = Agreement(flow, writes, ledger, edition=named, access=access)
    return Delivery(flow, target, agreement, ledger, plan.within, budget, plan.others)
