"""Call detail records: from the files that telephone systems write to rows of `cdr_rows` and `phone_reports`.

`files` finds files and hashes them (`CdrFile`); `detect` tells formats by content. Asterisk, FreeSWITCH, Avaya and
mapped CSV have one module each:

    sniff(head: bytes) -> tuple[str, ...] | None
        names of the columns (empty for formats without columns) when the first bytes are of this format;
    stage(connection, files: Sequence[CdrFile], rejects: Rejects, settings) -> Mapping[int, Staged]
        inserts rows into the temporary tables `staged_cdr_rows` and `staged_phone_reports` (made by
        `staging.make_tables`, columns as in the schema), rejects by name what it cannot read, and returns what became
        of each file by its `file_key`. A file that breaks off raises nothing: `rejects.refuse(file, sentence)`.

CUCM writes far more than all others, so its rows rest nowhere: `cutting` cuts files into cells with kernels,
`cucm_rows` makes Arrow columns of them, and `cucm.record_batches` hands these to the lake while the next are made.

`importing` is the run: find, hash, leave out what was imported before, append, and write `imports` last; `journal`
makes it safe to be killed, `ledger` asks the lake what is there, `sequence` finds missing files.
"""
