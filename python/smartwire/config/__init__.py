"""Configuration: what can be configured, editing it, and committing it.

What a face (CLI, web, NETCONF) uses. Everything here takes and returns plain values, so that the same calls go over the
daemon's socket (:mod:`smartwire.config.client`) or stay in the process (tests)::

    engine = Engine(store, planes)                  # one per box; smartwired owns it
    session = engine.session("alice", "cli pts/3")  # raises AccessDenied; one per login
    session.configure("shared")                     # or "private", "exclusive"; raises Locked, which names the holder
    session.edit("wires north")                     # also up(n), top(); session.level is the path, a list of words
    session.set("workers 2")                        # what stands after the verb, as typed, at the edit level
    session.delete("mode") / rename("north", "south") / copy("north", "south") / insert("cdn", "before", "rest")
    session.activate("mode") / deactivate("mode") / annotate("mode", "why")
    session.show("", form="text")                   # text, set, json or xml of the candidate, at the level; masked
    session.compare()                               # candidate with the running one; compare(3): with rollback 3
    session.load("merge", text) / session.rollback(1)
    session.check()                                 # list of Problem; nothing is changed
    session.commit(comment="why", confirmed=10)     # minutes; a Commit, or raises CommitFailed with .problems
    session.leave()                                 # says what becomes of uncommitted edits
    session.options("set", ["wires", ""])           # what may follow, for Tab and ?: list of Option
    session.run("show wires")                       # an operational command (smartwire.config.commands)
    session.close()

=============  =========================================================================================================
schema.py      what can be configured: the YANG modules of smartwire/yang (the only importer of yangson)
words.py       quoting and splitting of what is typed
tree.py        a configuration as a value, and its edits
parse.py       set lines and curly braces, read;  text.py  printed;  load.py  merge, override, replace, set
document.py    JSON and XML;  compare.py  show | compare
=============  =========================================================================================================
"""
