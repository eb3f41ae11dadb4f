"""`show | compare`: golden."""

from __future__ import annotations

from smartwire.config.compare import compare
from smartwire.config.load import load, read
from smartwire.config.schema import load as load_schema

OLD = read(
    load_schema(),
    """
system { host-name box1; login { user alice { class operator; password "$argon2id$one"; } } }
/* the north link */
wires { north { pair eth1 { core eth2; } mode observe; } }
prefix-lists { cdn { prefix [ 192.0.2.0/24 198.51.100.0/24 ]; } }
policies { a { engine none; } b; c; }
""",
)


def changes(*lines: str) -> str:
    return compare(OLD, load(OLD, "set", "\n".join(lines)))


def test_nothing_is_shown_where_nothing_differs():
    assert compare(OLD, OLD) == ""
    assert changes("set wires north mode observe") == ""


def test_a_leaf_that_changes_goes_and_comes():
    assert changes("set wires north mode bypass") == "[edit wires north]\n-   mode observe;\n+   mode bypass;\n"


def test_an_entry_comes_and_goes_whole():
    assert changes("set wires south pair eth3 core eth4", "delete policies a") == (
        "[edit wires]\n+   south {\n+       pair eth3 {\n+           core eth4;\n+       }\n+   }\n"
        "[edit policies]\n-   a {\n-       engine none;\n-   }\n"
    )


def test_of_a_leaf_list_only_what_differs_is_shown():
    assert changes("delete prefix-lists cdn prefix 192.0.2.0/24", "set prefix-lists cdn prefix 2001:db8::/32") == (
        "[edit prefix-lists cdn]\n-   prefix 192.0.2.0/24;\n+   prefix 2001:db8::/32;\n"
    )


def test_what_moved_is_marked_and_only_that():
    moved = OLD.insert(("policies", "c"), "before", "a")
    assert compare(OLD, moved) == "[edit policies]\n!   c { ... } ## moved to the front\n"
    moved = OLD.insert(("policies", "a"), "after", "c")
    assert compare(OLD, moved) == "[edit policies]\n!   a { ... } ## moved after c\n"


def test_marks_are_shown():
    assert changes("deactivate wires north mode") == "[edit wires north]\n!   inactive: mode observe;\n"
    assert changes("deactivate policies a", "annotate policies a why") == (
        "[edit policies]\n!   inactive: a { ... }\n+   /* why */\n    a { ... }\n"
    )
    assert changes('annotate wires ""') == "[edit]\n-   /* the north link */\n    wires { ... }\n"


def test_a_secret_that_changes_is_shown_as_stars_both_times():
    assert changes('set system login user alice password "$argon2id$two"') == (
        "[edit system login user alice]\n-   password ********; ## SECRET-DATA\n+   password ********; ## SECRET-DATA\n"
    )


def test_what_compare_shows_as_coming_is_what_goes_the_other_way():
    new = load(OLD, "set", "set wires south pair eth3 core eth4\ndelete policies a\nset system location x")
    swapped = compare(new, OLD).translate(str.maketrans("+-", "-+"))
    assert sorted(swapped.splitlines()) == sorted(compare(OLD, new).splitlines())
