"""A package's entry points name these: kinds of cloud systems, and flows that say what one of them should hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from canonical.finding import Finding
from flows.kit.resources import Resources
from flows.port import Document, Flow, Target

SAMPLE = "settings.sample.toml"
Chart = Mapping[str, Mapping[str, Any]]
"""The accounts and dimensions that the records of the legacy systems name, by code."""
Cloud = TypeVar("Cloud", bound=AbstractAsyncContextManager[Any])
_OF_EVERY_SECTION = {"target", "system", "within"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSystem:
    """
    A flow that a settings file can ask for: with a target that ships it, or by an entry point in `ironbridge.flows`.

    `target` is the kind of target that it writes to, as its entry point in `ironbridge.targets` is called. `settings` is a
    frozen pydantic model of the section `[flows.NAME]`. `build` gets the name of the section, its checked settings and those
    of the target: how the target names things is the same for all flows that write there.

    `check`, if there is one, asks the target for what the settings name (an account, a code), changing nothing. `package`
    holds `settings.sample.toml`, a commented section for `init`; it is empty if the target's own sample shows this flow too.
    """

    target: str
    settings: type[BaseModel]
    build: Callable[[str, Any, Any], Flow]
    check: Callable[[Any, Target], Awaitable[Sequence[Finding]]] | None = None
    package: str = ""

    def __post_init__(self) -> None:
        if taken := _OF_EVERY_SECTION & self.settings.model_fields.keys():
            raise ValueError(f"{sorted(taken)[0]} is a setting of every section: call it something else")

    @property
    def sample(self) -> str:
        """A commented section `[flows.*]`."""
        return sample_of(self.package)


@dataclass(frozen=True, slots=True)
class CloudWorld(Generic[Cloud]):
    """
    Makes an invented cloud system of a kind for the demonstration, and looks into it.

    `open` makes it; it runs while it is entered with `async with`, and keeps what it holds in the file. It may have to know
    the chart already. `section` is the section `[targets.*]` that reaches it, once it runs. `counts` tells how many documents
    it holds, by kind. `exact` gives those of some documents that it holds exactly; None if the target can be read back.

    A world that is not `in_demonstration` is played there only if somebody asks for it.
    """

    open: Callable[[Path, Chart], Cloud]
    section: Callable[[Cloud, Chart], Mapping[str, Any]]
    counts: Callable[[Cloud], Mapping[str, int]]
    exact: Callable[[Cloud, Iterable[Document]], Iterable[Document]] | None = None
    in_demonstration: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSystem:
    """
    A kind of cloud system that a settings file can ask for, named by an entry point in `ironbridge.targets`.

    `settings` is a frozen pydantic model of the section `[targets.NAME]`, secrets as SecretStr: address, credentials, limits
    and how things are named there. `build` gets the name of the section, its checked settings and the `Resources` that the
    target asks for what it needs; it connects to nothing. `package` holds `settings.sample.toml`, a commented section for `init`.

    `flow` is the flow that ships with it. Where no `[flows.*]` section names the target, this flow runs under the target's
    name, and the one section holds the settings of both. `world` imports the kind's invented cloud system, if there is one.
    """

    settings: type[BaseModel]
    build: Callable[[str, Any, Resources], Target]
    flow: FlowSystem | None = None
    package: str = ""
    world: Callable[[], CloudWorld[Any]] | None = None

    def __post_init__(self) -> None:
        if self.flow and (both := self.settings.model_fields.keys() & self.flow.settings.model_fields.keys()):
            raise ValueError(f"target and flow both have a setting {sorted(both)[0]}: one section could not tell them apart")

    @property
    def sample(self) -> str:
        """A commented section `[targets.*]`."""
        return sample_of(self.package)

    def divided(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """A section's settings for the target, and those for the flow that ships with it."""
        flows = self.flow.settings.model_fields.keys() if self.flow else ()
        ours = {name: value for name, value in given.items() if name in flows}
        return {name: value for name, value in given.items() if name not in ours}, ours


def sample_of(package: str) -> str:
    """The package's `settings.sample.toml`."""
    return files(package).joinpath(SAMPLE).read_text("utf-8") if package else ""
