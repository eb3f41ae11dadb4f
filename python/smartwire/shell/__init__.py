"""The appliance's command line, without a terminal: what may be typed, what it does, what is shown.

==============  ========================================================================================================
grammar.py      what may come next, for running, completing and `?` alike;  words.py  a line and its pipes
places.py       a path of the configuration as a place in a line
operational.py  operational mode;  configure.py  the verbs of configuration mode;  pipes.py  what follows a `|`
shell.py        one operator's shell: the two modes, over a :class:`smartwire.config.session.Session`
front.py        answers on a terminal or in a script;  line.py  the line editor and its keys
==============  ========================================================================================================
"""
