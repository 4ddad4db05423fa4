"""A kind of system whose files are read by nothing but its declared streams, as an entry point."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib import import_module

from adapters.kit.files import FilesAdapter, FilesSettings, FileStream
from adapters.port import AdapterSystem, World


def files_system(package: str, streams: Sequence[FileStream]) -> AdapterSystem[FilesSettings]:
    """
    Make the system of a package: `system = files_system(__name__, STREAMS)`. Its settings are those of every adapter of files.
    Its invented system is `WORLD` of its module `world`, a `FilesWorld`, which a bridge never imports.
    """
    return AdapterSystem(FilesSettings, partial(_built, tuple(streams)), package, partial(_world, package))


def _built(streams: tuple[FileStream, ...], name: str, settings: FilesSettings) -> FilesAdapter:
    return FilesAdapter(name, settings, streams)


def _world(package: str) -> World[FilesSettings]:
    made: World[FilesSettings] = import_module(f"{package}.world").WORLD.world()
    return made
