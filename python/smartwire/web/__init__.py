"""The web pages of the box: a face of smartwired like the command line, in a process of its own without any right.

``logins`` ties a browser's cookie to a session of smartwired; ``guard`` lets nobody past who has none; ``frame`` is
what all pages share, ``style`` how they look; every other module is a page, or pure figures for one. What a page shows
it asks of smartwired with the commands that an operator could type, so that rights, idle time and audit are decided
there.
"""
