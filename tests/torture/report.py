"""The report of a run: what was done, what the checker found, and a plot of events, kills and catching up over time."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.torture.torture import Mark, Torture

_WIDTH, _LEFT, _RIGHT, _TOP = 1000, 60, 20, 20
_INK, _LINES, _BEHIND = "#0b0c0c", ("#1d70b8", "#00703c", "#912b88"), "#d4351c"
_COLOURS = {"kill": "#d4351c", "network": "#f47738", "disk": "#b58840", "target": "#912b88", "legacy": "#85994b",
            "state": "#4c2c92", "pause": "#28a197", "copies": "#f499be", "clock": "#003078",
            "release": "#1d70b8", "topic": "#801650", "rest": "#00703c"}  # fmt: skip


def verdict(t: Torture) -> str:
    return (
        f"seed {t.seed}: {t.all_kills()} kills in {_minutes(t)}, {len(t.stage.subscriber.told)} events of "
        f"{t.stage.legacy.states} committed states, {_effects(t)} effects at the targets: {len(t.violations)} violations"
    )


def write(t: Torture, folder: Path) -> None:
    """report.md, report.html and report.json; the plot stands in report.svg and in the page."""
    folder.mkdir(parents=True, exist_ok=True)
    text, plot = markdown(t), svg(t)
    (folder / "report.md").write_text(text, "utf-8")
    (folder / "report.svg").write_text(plot, "utf-8")
    (folder / "report.html").write_text(_page(t, text, plot), "utf-8")
    (folder / "report.json").write_text(json.dumps(_figures(t), indent=1), "utf-8")


def _minutes(t: Torture) -> str:
    return f"{(t.samples[-1].at - t.began) / 60:.1f} minutes" if t.samples else "no time"


def _effects(t: Torture) -> int:
    return sum(len(target.seen) for target in t.stage.targets.values())


def _figures(t: Torture) -> dict[str, object]:
    return {
        "seed": t.seed, "began": t.began, "kills": dict(t.kills), "scenes": dict(t.scenes), "rests": t.rests,
        "measured": t.measured, "violations": [str(v) for v in t.violations], "oddities": len(t.oddities),
        "states": t.stage.legacy.states, "events": len(t.stage.subscriber.told), "effects": _effects(t),
        "repeats": _repeats(t),
    }  # fmt: skip


def _repeats(t: Torture) -> dict[str, int]:
    """Writes that found what they wrote already there: allowed only where a target cannot be asked, after a lost answer."""
    return {name: sum(not e.changed for e in target.seen) for name, target in t.stage.targets.items()}


def markdown(t: Torture) -> str:
    began = datetime.fromtimestamp(t.began, UTC)
    result = "**No promise was broken.**" if not t.violations else f"**{len(t.violations)} violations**, listed below."
    repeats = ", ".join(f"{name} {count}" for name, count in _repeats(t).items())
    lines = [
        "# Killed, cut off and lied to",
        "",
        f"{began:%d %B %Y}, {_minutes(t)}, seed {t.seed}. {result}",
        "",
        "| | |",
        "|---|---|",
        f"| kills (SIGKILL), each followed by a rest that was judged | {t.judged_kills} |",
        *(f"| of these, {name} | {count} |" for name, count in t.kills.most_common()),
        f"| states committed in the legacy systems | {t.stage.legacy.states} |",
        f"| events that a read_committed subscriber saw | {len(t.stage.subscriber.told)} |",
        f"| effects at the targets | {_effects(t)} |",
        f"| written again after a lost answer | {repeats} |",
        f"| times at rest, each held against all promises | {len(t.rests)} |",
        f"| to come to rest, longest | {max(t.rests, default=0):.1f} s |",
        f"| violations | {len(t.violations)} |",
        *(f"| {what} | {value:.1f} |" for what, value in t.measured.items()),
        "",
        "![Events, kills and catching up over time](report.svg)",
        "",
        "A business_central document can be read back, and so nothing may ever be written there twice. The DfE's API shows "
        "nothing: what was on its way when a worker was killed is sent again, and that is all that may come twice.",
        "",
        "## What was done",
        "",
        *(f"- {name}: {count} times" if count > 1 else f"- {name}" for name, count in sorted(t.scenes.items())),
        "",
    ]
    if t.violations:
        lines += ["## Violations", "", *(f"- {violation}" for violation in t.violations), ""]
    if t.oddities:
        lines += ["## Not violations, and not as it should be", "", *(f"- {o.splitlines()[0]}" for o in t.oddities), ""]
    return "\n".join(lines) + _REPEAT.format(seed=t.seed, kills=t.wanted)


_REPEAT = """
## To repeat it

```
make torture SEED={seed} KILLS={kills}
```

The seed decides what is done and to whom; how far each process has come by then is the machine's, so two runs are never the
same. The checker is `tests/torture/checker.py`; `tests/test_torture_checker.py` breaks each promise and has it caught.
"""


# -- the plot ----------------------------------------------------------------------------------------------------------


def svg(t: Torture) -> str:
    """Three panels over time: what was committed, seen and done; how many records were behind; what was done to whom."""
    if not t.samples:
        return '<svg xmlns="http://www.w3.org/2000/svg"/>'
    begin, end = t.began, max(t.samples[-1].at, t.began + 1)

    def x(at: float) -> float:
        return _LEFT + (at - begin) / (end - begin) * (_WIDTH - _LEFT - _RIGHT)

    sums = [("states committed", [s.states for s in t.samples]), ("events", [s.events for s in t.samples]),
            ("effects at targets", [s.effects for s in t.samples])]  # fmt: skip
    xs = [x(s.at) for s in t.samples]
    body = _axis(_TOP, 200, max(max(values) for _, values in sums), "in all")
    for (name, values), colour, n in zip(sums, _LINES, range(3), strict=True):
        body += _line(xs, values, _TOP, 200, max(max(v) for _, v in sums), colour)
        body += f'<text x="{_LEFT + 10}" y="{_TOP + 16 + 16 * n}" fill="{colour}">{name}</text>'
    behind = [s.behind for s in t.samples]
    body += _axis(250, 120, max(*behind, 1), "records behind") + _line(xs, behind, 250, 120, max(*behind, 1), _BEHIND)
    body += _marks(t.marks, x) + _clock(begin, end, x)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} 560" font-family="sans-serif" font-size="12" '
        f'role="img" aria-label="Events, kills and catching up over time"><rect width="{_WIDTH}" height="560" fill="#fff"/>'
        f"{body}</svg>"
    )


def _axis(top: int, height: int, most: int, name: str) -> str:
    right = _WIDTH - _RIGHT
    return (
        f'<line x1="{_LEFT}" y1="{top + height}" x2="{right}" y2="{top + height}" stroke="{_INK}"/>'
        f'<text x="{_LEFT - 6}" y="{top + 12}" text-anchor="end">{most}</text>'
        f'<text x="{_LEFT - 6}" y="{top + height}" text-anchor="end">0</text>'
        f'<text x="14" y="{top + height / 2}" transform="rotate(-90 14 {top + height / 2})" text-anchor="middle">{name}</text>'
    )


def _line(xs: Sequence[float], values: Sequence[int], top: int, height: int, most: int, colour: str) -> str:
    points = " ".join(f"{x:.1f},{top + height - value / most * height:.1f}" for x, value in zip(xs, values, strict=True))
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>'


def _marks(marks: Sequence[Mark], x: Callable[[float], float]) -> str:
    rows = list(_COLOURS)
    body = "".join(
        f'<text x="{_LEFT - 6}" y="{406 + 13 * n}" text-anchor="end" fill="{_COLOURS[kind]}">{kind}</text>'
        for n, kind in enumerate(rows)
    )
    for mark in marks:
        if mark.kind in rows:
            y, width = 397 + 13 * rows.index(mark.kind), max(x(mark.at + mark.seconds) - x(mark.at), 1.0)
            title = f"<title>{html.escape(mark.what)}</title>"
            body += f'<rect x="{x(mark.at):.1f}" y="{y}" width="{width:.1f}" height="11" '
            body += f'fill="{_COLOURS[mark.kind]}">{title}</rect>'
    return body


def _clock(begin: float, end: float, x: Callable[[float], float]) -> str:
    step = max(60, int((end - begin) / 10) // 60 * 60)
    return "".join(
        f'<text x="{x(begin + s):.1f}" y="545" text-anchor="middle">{s // 60} min</text>'
        for s in range(0, int(end - begin) + 1, step)
    )


def _page(t: Torture, text: str, plot: str) -> str:
    rows, rest = [], []
    for line in text.splitlines()[2:]:
        if line.startswith("| ") and not line.startswith("| | "):
            cells = [html.escape(cell.strip()) for cell in line.strip("|").split("|")]
            rows.append(f"<tr><th scope='row'>{cells[0]}</th><td>{cells[1]}</td></tr>")
        elif line.startswith("## "):
            rest.append(f"<h2>{html.escape(line[3:])}</h2>")
        elif line.startswith("- "):
            rest.append(f"<p>• {html.escape(line[2:])}</p>")
        elif line and not line.startswith(("|", "!", "```")):
            rest.append(f"<p>{html.escape(line.replace('**', ''))}</p>")
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Killed, cut off and lied to</title>"
        "<style>body{font:16px/1.5 sans-serif;max-width:1040px;margin:2em auto;padding:0 1em}"
        "th{text-align:left;font-weight:normal;padding-right:2em}p{margin:.3em 0}</style>"
        f"<h1>Killed, cut off and lied to</h1>{rest[0] if rest else ''}<table>{''.join(rows)}</table>{plot}"
        f"{''.join(rest[1:])}</html>\n"
    )
