"""
A council's garages for Ironbridge: lettings, read from the housing system, for the finance department and a repairs contractor.

`entities` declares the letting, `lettings` is the adapter, `refunds` a flow for Business Central, `repairs` a target of its own.
"""
