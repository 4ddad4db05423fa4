"""
The checker proves four promises, or names what broke them. It compares the changes in the legacy systems with the events
that a read_committed subscriber saw and with the writes that the targets say they received.

1. loss: the last state of every legacy record is the last event of its key, and the targets hold it;
2. duplicate: no event comes twice, versions grow without a repeat, no effect comes twice at a target;
3. order: a key's events and a document's writes follow the order of the commits; intermediate states may be left out;
4. silence: a record that is not delivered lies aside with a reason that a person can act on.

It knows nothing of the program that it judges: it compares states as the texts that `witness` makes of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

Value = str | None
"""A record's state as a text; None: it is not there."""


class Promise(StrEnum):
    LOSS = "no loss"
    DUPLICATE = "no duplicate"
    ORDER = "order"
    SILENCE = "nothing silent"


class Violation(NamedTuple):
    """What broke which promise. `about` is a record's key, never a value of it."""

    promise: Promise
    about: str
    what: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.about}: {self.what}"


class Told(NamedTuple):
    """
    One event as a read_committed subscriber saw it. `content` tells two states of a key apart, None for a tombstone. `era`
    counts how often its topic had been deleted and made anew by then. `owner` is the key of the record that it belongs to,
    `at` is when it was published, in seconds since 1970.
    """

    topic: str
    partition: int
    offset: int
    key: str
    id: str
    version: int
    value: Value
    content: str | None
    era: int = 0
    owner: str = ""
    at: float = 0.0


class Effect(NamedTuple):
    """
    One effect at a target, as the target itself reports it. `parts` are the records in the document, with their values after
    the effect. `changed` False: the document was written with the content that it had already. One request may have several
    effects on a document: its lines one by one. `release` is the release that wrote it, None if that cannot be told.
    """

    target: str
    sequence: int
    at: float
    request: str
    subject: str
    operation: str
    changed: bool
    parts: Mapping[str, str]
    release: str | None = None


class Should(NamedTuple):
    """
    What a target should hold of a subject; not `certain`: it may also hold nothing; not `whole`: a record of it cannot be read,
    and what belongs to that record may be missing with it.
    """

    parts: Mapping[str, str]
    certain: bool = True
    whole: bool = True


class Span(NamedTuple):
    """A time in which answers of a target may have been lost, in seconds since 1970."""

    target: str
    begin: float
    end: float


@dataclass
class Evidence:
    """
    All the evidence. `history` is every committed state of every key, in order. `unsaid` are keys whose last state cannot be
    read: they must lie aside. `aside` are the records that the program says it cannot publish, with the reason; `parked` are,
    by target, the subjects that it does not deliver. A target in `unreadable` cannot be asked for its content: documents in
    doubt are written again there, and that breaks no promise. If the program has said that such a target was `forgotten`,
    because its state was lost, documents that were deleted meanwhile may stay there: nobody knows of them any more. A target
    in `stepwise` takes a document in several steps (its head, then its lines): its content between two steps is not a state,
    and is never the last one. `release` is the present release. `releases` tells, by target, which release wrote each
    document that is held, and `switches` how often the flow of a target may have changed its release.
    """

    history: Mapping[str, Sequence[Value]]
    events: Sequence[Told]
    effects: Sequence[Effect] = ()
    holds: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    should: Mapping[str, Mapping[str, Should]] = field(default_factory=dict)
    aside: Mapping[str, str] = field(default_factory=dict)
    parked: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unsaid: Collection[str] = ()
    unreadable: Collection[str] = ()
    forgotten: Collection[str] = ()
    stepwise: Collection[str] = ()
    doubts: Sequence[Span] = ()
    unplanned: Sequence[tuple[str, str]] = ()
    """Targets and subjects that the program itself says it would still write, now that all is quiet."""
    release: str = ""
    releases: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    switches: Mapping[str, int] = field(default_factory=dict)
    rolls: Sequence[tuple[float, float]] = ()
    """When workers of two releases were at work side by side, from and to, in seconds since 1970."""


ANSWER = 5.0
"""Seconds after a write in which its answer may still be on its way, and so be lost."""


def judge(evidence: Evidence) -> list[Violation]:
    """Every violation; where there is one, the first of each kind is what to look at first."""
    return [
        *_versions(evidence.events),
        *_events(evidence),
        *_lost(evidence),
        *_effects(evidence),
        *_holdings(evidence),
        *_releases(evidence),
        *_silent(evidence),
    ]


def first(evidence: Evidence) -> Violation | None:
    return next(iter(judge(evidence)), None)


# -- the topics ------------------------------------------------------------------------------------------------------


def _by_key(events: Iterable[Told]) -> dict[str, list[Told]]:
    """Each key's events, oldest first; a key that moved to another partition is ordered by its versions."""
    found: dict[str, list[Told]] = defaultdict(list)
    for event in events:
        found[event.key].append(event)
    return {key: sorted(told, key=_place) for key, told in found.items()}


def _place(event: Told) -> tuple[int, int, str, int, int]:
    return event.version, event.era, event.topic, event.partition, event.offset


def _versions(events: Sequence[Told]) -> Iterator[Violation]:
    ids: dict[tuple[str, int], Told] = {}
    reached: dict[tuple[str, int, str], int] = {}
    for event in sorted(events, key=lambda e: (e.topic, e.era, e.partition, e.offset)):
        where = f"{event.topic}[{event.partition}]@{event.offset}"
        if (had := ids.get((event.id, event.era))) is not None:
            what = f"the id of {where} was at {had.topic}[{had.partition}]@{had.offset} already"
            yield Violation(Promise.DUPLICATE, event.key, what)
        ids[event.id, event.era] = event
        place = (event.topic, event.partition, event.key)
        if event.version < reached.get(place, 0):
            what = f"version {event.version} lies behind version {reached[place]} ({where})"
            yield Violation(Promise.ORDER, event.key, what)
        reached[place] = max(reached.get(place, 0), event.version)
    for key, told in _by_key(events).items():
        for before, after in pairwise(told):
            # Events that a topic made anew lacks are published again unchanged.
            again = before.era != after.era and before.content == after.content
            if before.version == after.version and not again:
                yield Violation(Promise.DUPLICATE, key, f"two events have its version {after.version}")


def _events(evidence: Evidence) -> Iterator[Violation]:
    for key, told in _by_key(evidence.events).items():
        for before, after in pairwise(told):
            if before.content == after.content and before.era == after.era:
                what = f"versions {before.version} and {after.version} are the same state, published twice"
                yield Violation(Promise.DUPLICATE, key, what)
        if key in evidence.history and key not in evidence.unsaid:
            yield from _walk(key, [e.value for e in told], evidence.history[key], "published")


def _walk(key: str, seen: Sequence[Value], states: Sequence[Value], verb: str) -> Iterator[Violation]:
    """Whether what was seen are states of the record, in their order; some may be left out."""
    at = 0
    for value in seen:
        if value in states[at:]:
            at = states.index(value, at)
        elif value in states:
            yield Violation(Promise.ORDER, key, f"a state was {verb} after a later one")
        else:
            yield Violation(Promise.LOSS, key, f"a state was {verb} that the legacy system never committed")


def _lost(evidence: Evidence) -> Iterator[Violation]:
    last = {key: told[-1].value for key, told in _by_key(evidence.events).items()}
    for key, states in evidence.history.items():
        now = states[-1]
        if key in evidence.aside or key in evidence.unsaid or now == last.get(key):
            continue
        what = "was never published" if key not in last else "its last state is not its last event"
        if now is None:
            what = "was deleted, and its last event says that it lives"
        yield Violation(Promise.LOSS, key, what)


# -- the targets -----------------------------------------------------------------------------------------------------


def _effects(evidence: Evidence) -> Iterator[Violation]:
    there: dict[tuple[str, str], Effect] = {}
    last: dict[tuple[str, str], Effect] = {}
    seen: dict[str, dict[str, list[Value]]] = defaultdict(lambda: defaultdict(list))
    for effect in sorted(evidence.effects, key=lambda e: (e.target, e.sequence)):
        place = (effect.target, effect.subject)
        had = there.get(place)
        about = f"{effect.target} {effect.subject}"
        if effect.operation == "create" and had is not None:
            yield Violation(Promise.DUPLICATE, about, f"was created twice (effects {had.sequence} and {effect.sequence})")
        before = last.get(place)
        if not effect.changed and not _excused(effect, before, evidence):
            what = f"effect {effect.sequence} wrote again what was there since effect {before.sequence if before else 0}"
            yield Violation(Promise.DUPLICATE, about, what)
        last[place] = effect
        if effect.operation == "purge":
            there.pop(place, None)
            continue
        there[place] = effect
        for key, value in effect.parts.items():
            walked = seen[effect.target][key]
            if before is not None and walked and before.request == effect.request and before.parts.get(key) == walked[-1]:
                walked[-1] = value  # the same request goes on with the document
            elif not walked or walked[-1] != value:
                walked.append(value)
    for target, parts in seen.items():
        for key, values in parts.items():
            if key in evidence.history and key not in evidence.unsaid:
                if target in evidence.stepwise:
                    values = [value for value in values if value in evidence.history[key]]
                yield from _walk(key, values, evidence.history[key], f"written to {target}")


def _excused(effect: Effect, had: Effect | None, evidence: Evidence) -> bool:
    """
    Whether it was in doubt what the target held: the answer to the write before may have been lost, or another document that
    was wanted for a while after that write may have been on its way.
    """
    if effect.target not in evidence.unreadable:
        return False
    doubts = [doubt for doubt in evidence.doubts if doubt.target == effect.target]
    if had is None:  # what was sent first may not even have arrived
        return any(doubt.begin <= effect.at for doubt in doubts)
    if any(doubt.begin <= had.at + ANSWER and doubt.end >= had.at - 1 for doubt in doubts):
        return True
    since = _wanted_otherwise(effect, had, evidence)
    return since is not None and any(doubt.begin <= effect.at and doubt.end >= since for doubt in doubts)


def _wanted_otherwise(effect: Effect, had: Effect, evidence: Evidence) -> float | None:
    """From when on, between two writes of one document, another document may have been wanted; None if none was."""
    between = sorted(e.at for e in evidence.events if e.owner == effect.subject and had.at < e.at < effect.at)
    # One event brought the other state, and a later one brought the state that is written again.
    came = between[:1] if len(between) > 1 else []
    # Or another release wanted the document otherwise.
    rolled = [max(begin, had.at) for begin, end in evidence.rolls if begin < effect.at and end > had.at]
    return min([*came, *rolled], default=None)


def _holdings(evidence: Evidence) -> Iterator[Violation]:
    for target, subjects in evidence.should.items():
        holds = evidence.holds.get(target, {})
        excepted = {*evidence.aside, *evidence.parked.get(target, ())}
        for subject, should in subjects.items():
            about, there = f"{target} {subject}", holds.get(subject)
            if subject in excepted:
                continue
            if there is None:
                if should.certain and should.parts:
                    yield Violation(Promise.LOSS, about, "is not at the target")
                continue
            forgiven = target in evidence.forgotten
            if not should.parts and forgiven:
                continue
            if not should.parts:
                yield Violation(Promise.LOSS, about, "is still at the target, though it is gone from the legacy system")
                continue
            for key in sorted(should.parts.keys() | there.keys()):
                if key not in should.parts and forgiven and evidence.history.get(key, (1,))[-1] is None:
                    continue
                if key not in there and not should.whole:
                    continue
                if key not in evidence.aside and should.parts.get(key) != there.get(key):
                    what = "is missing from" if key not in there else "is not as it should be in"
                    what = "should no longer be in" if key not in should.parts else what
                    yield Violation(Promise.LOSS, key, f"{what} {about}")
        for subject in holds.keys() - subjects.keys() - excepted:
            yield Violation(Promise.LOSS, f"{target} {subject}", "is at the target, though no legacy system ever held it")


def _releases(evidence: Evidence) -> Iterator[Violation]:
    for target, releases in evidence.releases.items():
        excepted = {*evidence.aside, *evidence.parked.get(target, ())}
        for subject, should in evidence.should.get(target, {}).items():
            if should.parts and subject in releases and subject not in excepted and releases[subject] != evidence.release:
                what = "is there as a release writes it that is not the present one"
                yield Violation(Promise.LOSS, f"{target} {subject}", what)
    went: dict[tuple[str, str], list[str]] = defaultdict(list)
    for effect in sorted(evidence.effects, key=lambda e: (e.target, e.sequence)):
        path = went[effect.target, effect.subject]
        if effect.release is not None and (not path or path[-1] != effect.release):
            path.append(effect.release)
    for (target, subject), path in went.items():
        if len(path) - 2 > evidence.switches.get(target, 0):
            what = f"went back and forth between two releases {len(path) - 1} times"
            yield Violation(Promise.DUPLICATE, f"{target} {subject}", what)


def _silent(evidence: Evidence) -> Iterator[Violation]:
    told = [*evidence.aside.items(), *(item for each in evidence.parked.values() for item in each.items())]
    for key, reason in told:
        if len(reason.split()) < 3:
            yield Violation(Promise.SILENCE, key, "lies aside without a reason that a person can act on")
    for key in evidence.unsaid:
        if key not in evidence.aside:
            yield Violation(Promise.SILENCE, key, "cannot be read as anything, and nobody is told")
    for target, subject in evidence.unplanned:
        if subject not in evidence.parked.get(target, ()):
            yield Violation(Promise.SILENCE, subject, "would still be written, but nothing is done about it")
