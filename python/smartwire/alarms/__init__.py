"""Alarms: what an operator has to know of, with a severity, a clear condition and a remedy.

:mod:`facts` says what is seen, :mod:`catalogue` what of it is an alarm, :mod:`evaluate` when one is raised and cleared,
:mod:`journal` keeps them, :mod:`watch` does all of this at each tick and tells everyone who wants to be told.
"""
