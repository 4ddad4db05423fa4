"""The demonstration: a small council's world on one machine, and the play that is shown in it."""
