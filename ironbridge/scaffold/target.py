"""The files of a target's package: code, the flow that ships with it, a sandbox, sample settings, its suite, a README."""

from __future__ import annotations

from dataclasses import dataclass

from ironbridge.scaffold.package import Files, rendered


@dataclass(frozen=True, slots=True)
class RecordsPackage:
    """The package of a target with one record a document, to be written (see `flows.kit.records`)."""

    name: str

    def files(self) -> Files:
        given = {"name": self.name, "title": "".join(word.capitalize() for word in self.name.split("_"))}
        for path in ("pyproject.toml", "README.md"):
            yield path, rendered(f"target/{path}", given)
        for module in ("target", "flow", "sandbox"):
            yield f"{self.name}/{module}.py", rendered(f"target/{module}.py", given)
        yield f"{self.name}/__init__.py", rendered("target/init.py", given)
        yield f"{self.name}/settings.sample.toml", rendered("target/settings.sample.toml", given)
        yield f"tests/test_{self.name}.py", rendered("target/test_target.py", given)
