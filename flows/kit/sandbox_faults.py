"""A sandbox is told here to misbehave: the faults to come, each used up by the request it hits."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from starlette.responses import PlainTextResponse, Response

Alteration = Literal["trim a text", "round an amount", "add a line", "drop a dimension"]


class Fault(BaseModel):
    """
    One way to misbehave, for the next `times` requests to the API (None: until forgiven).

    `before` the work means that the request leaves no trace; `after` means that the work was done and kept, and only
    the answer is spoilt. `path` limits the fault to requests whose path contains it; without it the token endpoint is
    spared. `refuse` answers 400 for the records whose key is in `keys`, however often, until forgiven.

    `alter` makes the cloud system change by itself what it is sent, and say so only where its answers show it: `what` says
    how, where the sandbox can do it. `times` counts the changes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["status", "cut", "garbage", "slow", "expired_token", "refuse", "alter"]
    when: Literal["before", "after"] = "before"
    times: int | None = Field(default=1, ge=1)
    status: int = Field(default=503, ge=400, le=599)
    retry_after: int | None = Field(default=None, description="seconds, sent as Retry-After")
    seconds: float = Field(default=0.0, ge=0, description="how long a slow answer takes")
    keys: frozenset[str] = frozenset()
    path: str = ""
    what: Alteration | None = None


FAULTS: TypeAdapter[list[Fault]] = TypeAdapter(list[Fault])


def strike(queue: list[Fault], path: str) -> Fault | None:
    """The first fault of the queue that hits a request to this path, used up by it."""
    for place, fault in enumerate(queue):
        hits = fault.path in path if fault.path else not path.endswith("/token")
        if fault.kind not in ("refuse", "alter") and hits:
            return _used(queue, place)
    return None


def alters(queue: list[Fault], what: Alteration) -> bool:
    """Tell whether a fault of the queue says to change something so; it is used up by that."""
    place = next((place for place, fault in enumerate(queue) if fault.kind == "alter" and fault.what == what), None)
    return place is not None and bool(_used(queue, place))


def _used(queue: list[Fault], place: int) -> Fault:
    fault = queue[place]
    if fault.times == 1:
        del queue[place]
    elif fault.times is not None:
        queue[place] = fault.model_copy(update={"times": fault.times - 1})
    return fault


def spoilt(fault: Fault) -> Response | None:
    """The answer a fault gives; None where it is a cut connection."""
    match fault.kind:
        case "cut":
            return None
        case "garbage":
            return Response("<html><body>Gateway: please sign in</body></html>", media_type="text/html")
        case _:
            waits = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            return PlainTextResponse("the sandbox was told to answer so", fault.status, waits)
