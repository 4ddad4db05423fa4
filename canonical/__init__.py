"""
The shared language: entities, value types, the event envelope, the error vocabulary. Nothing here does I/O.

`canonical.connect` stands apart from it: by that both sides reach databases.
"""

from canonical import children, finance, people
from canonical.children import *
from canonical.entities import Entities
from canonical.entity import Entity, Sensitivity
from canonical.event import Event
from canonical.finance import *
from canonical.people import *

ENTITIES = Entities((*people.PEOPLE, *children.CHILDREN, *finance.FINANCE))
"""Every entity by its type's name: one topic each."""

__all__ = ["ENTITIES", "Entity", "Event", "Sensitivity"]
__all__ += people.__all__  # what a domain offers stands in its own file
__all__ += children.__all__
__all__ += finance.__all__
