"""
The shared language: entities, value types, the event envelope, the error vocabulary. Nothing here does I/O.

`canonical.connect` stands apart from it: by that both sides reach databases.
"""

from canonical import adults, care, children, education, finance, health, housing, people, revenues, workforce
from canonical.adults import *
from canonical.care import *
from canonical.children import *
from canonical.education import *
from canonical.entities import Entities
from canonical.entity import Entity, Sensitivity
from canonical.event import Event
from canonical.finance import *
from canonical.health import *
from canonical.housing import *
from canonical.people import *
from canonical.revenues import *
from canonical.workforce import *

ENTITIES = Entities(
    (
        *people.PEOPLE,
        *children.CHILDREN,
        *care.CARE,
        *adults.ADULTS,
        *health.HEALTH,
        *housing.HOUSING,
        *revenues.REVENUES,
        *education.EDUCATION,
        *workforce.WORKFORCE,
        *finance.FINANCE,
    )
)
"""Every entity by its type's name: one topic each."""

__all__ = ["ENTITIES", "Entity", "Event", "Sensitivity"]
__all__ += people.__all__  # what a domain offers stands in its own file
__all__ += children.__all__
__all__ += care.__all__
__all__ += adults.__all__
__all__ += health.__all__
__all__ += housing.__all__
__all__ += revenues.__all__
__all__ += education.__all__
__all__ += workforce.__all__
__all__ += finance.__all__
