"""The runtime: which systems the settings ask for, and the process that runs them and keeps each part going."""
