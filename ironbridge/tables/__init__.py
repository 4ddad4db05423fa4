"""Open tables: every canonical entity as Delta Lake tables, written from its topic and read by DuckDB, Power BI and others."""
