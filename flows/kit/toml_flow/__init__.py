"""A flow that is declared in settings alone: renaming, constants, code maps and conditions. Anything more is Python."""

from flows.kit.toml_flow.columns import columns_there
from flows.kit.toml_flow.flow import TomlFlow
from flows.kit.toml_flow.settings import TomlFlowSettings, flow_of

__all__ = ["TomlFlow", "TomlFlowSettings", "columns_there", "flow_of"]
