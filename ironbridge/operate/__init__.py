"""What operations see and do: how everything stands, what is stuck, one record's story, steering, reconciliation, contracts."""
