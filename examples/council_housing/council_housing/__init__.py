"""
Council housing for Ironbridge: tenancies, read from the housing system, for the finance department and a repairs contractor.

`entities` declares the tenancy, `tenancies` is the adapter, `refunds` a flow for Business Central, `repairs` a target of its own.
"""
