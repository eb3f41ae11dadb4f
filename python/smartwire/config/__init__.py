"""Configuration: what can be configured, editing it, and committing it.

What a face (CLI, web, NETCONF) uses is a session. In the process of smartwired it is made by the engine; elsewhere by
:func:`smartwire.config.client.connect`, over smartwired's socket. The calls, and what they return, are the same::

    session = connect(source="cli pts/3", tell=print)   # root and configured users of the machine need no password;
    session = connect("alice", "secret", "web")         # raises LoginNeeded, or NotThere if smartwired does not run
    session.identity                                    # user, class, host_name, may_configure
    session.configure("shared")                         # or "private", "exclusive"; a list of sentences; raises Locked
    session.edit("wires north")                         # also up(n), top(): the level, a list of words
    session.set("workers 2")                            # what stands after the verb, as typed, at the edit level
    session.delete("mode") / rename("wires north", "south") / copy("wires north", "south")
    session.insert("policies cdn", "before", "rest") / activate(path) / deactivate(path) / annotate(path, "why")
    session.show("", form="text")                       # text, set, json or xml of the candidate; secrets are stars
    session.compare()                                   # candidate with the running one; compare(3), compare("rescue")
    session.load("merge", text) / session.rollback(1)   # merge, override, replace, set; rollback("rescue"), rollback(0)
    session.check()                                     # list of Problem, errors first; str(problem) is the line
    session.commit(comment="why", confirmed=10)         # minutes; a Commit, or raises CommitFailed with .problems
    session.leave()                                     # sentences: what becomes of uncommitted edits
    session.options("set", ["wires", ""])               # what the last word may become, for Tab and ?: list of Option
    session.options("run", ["show", ""])                # the same for operational commands
    session.run("show wires")                           # an operational command: {"text": ..., "data": ...}
    session.status() / session.history() / session.about()
    session.heard()                                     # passes on what was told ("Commit was not confirmed; ...")
    session.close()

Commands of your own: a module that uses :func:`smartwire.config.commands.command`, named in ``commands.MODULES``.

==================  ====================================================================================================
schema.py           what can be configured: the YANG modules of smartwire/yang (the only importer of yangson)
words.py            quoting and splitting of what is typed
tree.py             a configuration as a value, and its edits; merge.py two sides' changes put together
parse.py, load.py   set lines and curly braces, read, and loaded: merge, override, replace, set
text.py, compare.py the same, printed, and ``show | compare``; document.py JSON and XML
checks.py           all that is wrong with a configuration, at once
prefixlists.py      prefix lists in files; policy.py which policy counts; wiring.py ports and engines of a wire
disk.py, store.py   revisions, the rescue configuration and contents of prefix lists on disk, crash proof; audit.py
engine.py           check, prepare, apply, record; confirmed commits; session.py one login, its editing mode and verbs
access.py           classes, rights, passwords, lockout
plane.py            what follows the configuration: wireplane.py, proxypart.py, linkplane.py, collectplane.py
commands.py         operational commands by signature; operations.py those of the box, proxied.py of its proxies
daemon.py, api.py   smartwired and what its socket understands; client.py the other end
==================  ====================================================================================================
"""
