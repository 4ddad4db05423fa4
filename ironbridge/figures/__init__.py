"""
The figures: management information over the open tables, as SQL that ships, one file each in `sql/`.

`figure` reads the files, `reading` asks them on DuckDB, `sheet` writes what they answer. The command line and the console show
them.
"""
