"""Call detail records: from the files that telephone systems write to rows of `cdr_rows` and `phone_reports`.

`files` finds files and says what each is (`CdrFile`); `detect` tells formats by content; each format has one module:

    sniff(head: bytes) -> tuple[str, ...] | None
        names of the columns (empty for formats without columns) when the first bytes are of this format;
    stage(connection, files: Sequence[CdrFile], rejects: Rejects) -> Mapping[int, Staged]
        inserts rows into the temporary tables `staged_cdr_rows` and `staged_phone_reports` (made by
        `staging.make_tables`, columns as in the schema), rejects by name what it cannot read, and returns what became
        of each file by its `file_key`. A file that breaks off raises nothing: `rejects.refuse(file, sentence)`.

`importing` is the run: find, hash, leave out what was imported before, stage, append, and write `imports` last.
"""
