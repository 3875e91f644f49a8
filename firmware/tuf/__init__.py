"""The release repository as The Update Framework has it (TUF 1.0): who may say what may run, and how fresh that is.

`documents` is pure and needs neither database nor settings: it also runs on the machine that never sees a network
(`python -m firmware.tuf`). `store` keeps the documents in the database, `services` change them, `views` serve them.
"""
