"""What `smartwire test` makes of the outputs of cargo and pytest."""

from __future__ import annotations

from smartwire.cli.selftest import Count, Unsuccessful, cargo_count, junit_count, run

CARGO = """\
   Compiling smartwire-io v0.1.0 (/x/crates/io)
     Running unittests src/lib.rs (target/debug/deps/smartwire_io-0a1b2c3d)

running 3 tests
test frames::tests::a_frame_is_lost ... FAILED
test frames::tests::a_frame_is_kept ... ok
test hash_cost_ns ... ignored, timing

successes:

---- frames::tests::a_frame_is_kept stdout ----
repeat with SMARTWIRE_SEED=7


successes:
    frames::tests::a_frame_is_kept

failures:

---- frames::tests::a_frame_is_lost stdout ----
thread panicked


failures:
    frames::tests::a_frame_is_lost

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

     Running tests/raw.rs (target/debug/deps/raw-0a1b2c3d)

running 2 tests
test a_real_link ... ok
test another ... ok

successes:

---- a_real_link stdout ----
skipped: needs root for network namespaces


successes:
    a_real_link
    another

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests smartwire_io

running 1 test
test crates/io/src/lib.rs - frames (line 3) ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
"""


def test_rust_tests_that_skip_themselves_count_as_skipped_with_their_reason():
    count = cargo_count(CARGO.splitlines(keepends=True))
    assert str(count) == "3 passed, 1 failed, 2 skipped"
    assert count.failures == ["smartwire_io frames::tests::a_frame_is_lost"]
    assert count.skips == ["smartwire_io hash_cost_ns: timing", "raw a_real_link: needs root for network namespaces"]


def test_what_passed_tests_print_is_not_shown():
    shown = "".join(filter(Unsuccessful(), CARGO.splitlines(keepends=True)))
    assert "SMARTWIRE_SEED" not in shown
    assert "thread panicked" in shown
    assert shown.count("test result:") == 3


def test_every_case_of_pytest_is_counted_once(tmp_path):
    path = tmp_path / "junit.xml"
    path.write_text(
        """<testsuites><testsuite tests="4">
        <testcase classname="tests.cli.test_x" name="test_a"/>
        <testcase classname="tests.cli.test_x" name="test_b"><failure message="no"/></testcase>
        <testcase classname="tests.cli.test_x" name="test_c"><skipped message="needs root"/></testcase>
        <testcase classname="tests.cli.test_x" name="test_d"><error message="fixture"/></testcase>
        </testsuite></testsuites>"""
    )
    count = junit_count(path)
    assert str(count) == "1 passed, 2 failed, 1 skipped"
    assert count.failures == ["cli/test_x test_b", "cli/test_x test_d"]
    assert count.skips == ["cli/test_x test_c: needs root"]
    assert str(junit_count(tmp_path / "none.xml")) == str(Count())


def test_a_part_that_hangs_is_ended(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("smartwire.cli.selftest.LIMIT_S", 0.2)
    code, lines = run(tmp_path, "sh", "-c", "echo begun; sleep 60 & wait")
    assert code != 0
    assert lines == ["begun\n"]
    assert "longer than" in capsys.readouterr().out
