"""Operations look and act here: standing, stuck records, one record's story, steering, reconciliation, contracts."""
