"""How other systems read the box and are told by it: Prometheus, SNMP, syslog."""

PEN = 32473
"""PLACEHOLDER: the private enterprise number in SNMP object identifiers and syslog's structured data.

32473 is reserved for examples (RFC 5612). Smartwire has none of its own yet; once IANA has assigned one it goes here
and into smartwire/share/mibs/SMARTWIRE-MIB.txt, and nowhere else.
"""
