"""The web pages in Chromium, on a box made of Python: what an operator sees, with a mouse, with keys, on a phone."""

from __future__ import annotations

import re

import pytest

from .conftest import Operator
from .fakebox import PASSWORD, USER

FLOW = "/flow?wire=north&connection=100.64.3.10:40000-203.0.113.5:443"


def test_the_first_page_says_in_words_whether_it_works_and_whether_it_helps(desk):
    desk.go("/")
    desk.until("Working: 48 connections of 24 subscribers")
    desk.until("98% of TCP bytes are optimized.")
    desk.until("Servers see a round trip of 28 ms instead of 74 ms.")


def test_the_first_page_shows_refusals_with_reasons_alarms_and_wires(desk):
    for words in ("Multipath TCP was requested.", "cross in one direction only", "eth1 = eth2", "running, optimize"):
        desk.until(words)


def test_its_figures_are_live(desk):
    tile = desk.page.locator(".tile b").first
    before = tile.inner_text()
    desk.page.wait_for_function("t => document.querySelector('.tile b').innerText != t", arg=before)
    assert re.fullmatch(r"\d+\.\d\s*Mbit/s", tile.inner_text())


@pytest.mark.parametrize("span", ["1 h", "1 day", "15 days", "Live"])
def test_curves_are_drawn_for_each_range(desk, span):
    desk.go("/")
    desk.page.get_by_role("button", name=span, exact=True).click()
    drawn = "[...document.querySelectorAll('.chart svg path')].some(p => p.getAttribute('stroke') == '#3d8bfd')"
    desk.page.wait_for_function(drawn)


def test_nothing_is_fetched_from_elsewhere_and_nothing_fails(desk):
    assert [url for url in desk.asked if not re.match(r"(https|wss)://127\.0\.0\.1:\d+/|data:|blob:", url)] == []
    assert desk.wrong == []


def test_flows_are_found_by_subscriber_by_server_and_by_connection(desk):
    for sought, count in (("100.64.3.10", 3), ("203.0.113.5:443", 6), ("100.64.3.10:40000-203.0.113.5:443", 1)):
        desk.go("/flows")
        desk.page.locator("tbody tr td a").first.wait_for()
        desk.page.get_by_label("Search").fill(sought)
        desk.page.wait_for_function("n => document.querySelectorAll('tbody tr td a').length == n", arg=count)


def test_a_subscriber_leads_to_its_flows(desk):
    desk.go("/subscribers")
    desk.page.get_by_role("link", name="100.64.3.10", exact=True).click()
    desk.page.wait_for_function("() => document.querySelectorAll('tbody tr td a').length == 3")


def test_a_flow_is_captured_and_its_time_and_sequence_drawn(desk, box):
    desk.go(FLOW)
    desk.until("RTT on the subscriber's side")
    desk.until("optimizing")
    desk.page.get_by_role("button", name="Capture").click()
    desk.until("1.3 MB towards the subscriber, 6 segments sent again from here")
    desk.page.locator(".chart canvas").wait_for()
    assert list((box.state / "config" / "captures").iterdir()) == []


def test_the_configuration_is_shown_in_four_forms_and_compared_with_what_was(desk):
    desk.go("/configuration")
    desk.until("host-name edge-7;")
    desk.page.get_by_role("button", name="Set", exact=True).click()
    desk.until("set system host-name edge-7")
    assert PASSWORD not in desk.page.content()
    assert "$argon2" not in desk.page.content()
    desk.page.get_by_role("button", name="Compare the running configuration with number 1").click()
    desk.page.locator("pre .add").first.wait_for()
    assert "core-port 443" in desk.text("#differs")


def test_an_alarm_is_acknowledged(desk):
    desk.go("/alarms")
    desk.until("Put both directions")
    desk.until("port-down")
    desk.page.get_by_role("button", name="Acknowledge asymmetry").click()
    desk.until("acknowledged by alice")


def test_keys_lead_everywhere(desk):
    desk.go("/")
    desk.page.locator("#main .tile").first.wait_for()
    for key, path in (("f", "/flows"), ("s", "/subscribers"), ("a", "/alarms"), ("c", "/configuration"), ("o", "/")):
        desk.page.keyboard.press(key)
        desk.page.wait_for_url(desk.base + path)
        desk.page.locator("#main").wait_for()
    desk.page.keyboard.press("?")
    assert desk.page.locator("dialog#keys").is_visible()
    desk.page.keyboard.press("Escape")
    desk.go("/alarms")
    desk.page.locator("#main").wait_for()
    desk.page.keyboard.press("Tab")
    assert desk.page.evaluate("document.activeElement.className") == "skip"


def test_what_is_shown_has_names_for_those_who_do_not_see_it(desk):
    desk.go("/")
    desk.page.locator("#main .tile").first.wait_for()
    nameless = """[...document.querySelectorAll('a,button,input')].filter(e => e.offsetParent &&
        !(e.innerText || e.getAttribute('aria-label') || e.title || e.labels?.length)).map(e => e.outerHTML)"""
    assert desk.page.evaluate(nameless) == []
    assert desk.page.locator("nav [aria-current=page]").inner_text() == "Overview"
    assert desk.page.locator("[role=status]").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_off_in_light_and_dark(box, chromium, scheme):
    look = {"color_scheme": scheme, "viewport": {"width": 360, "height": 740}}
    phone = Operator(chromium, f"https://127.0.0.1:{box.port}", **look)
    phone.log_in(USER, PASSWORD)
    phone.page.locator("#main .tile").first.wait_for()
    for path in ("/", "/flows", "/subscribers", "/alarms", "/configuration", FLOW):
        phone.go(path)
        phone.page.locator("#main .panel").first.wait_for()
        assert phone.page.evaluate("document.documentElement.scrollWidth") <= 360, path
        if phone.page.locator("tbody td a").count():
            hidden = "[...document.querySelectorAll('.q-table__middle')].map(t => t.scrollWidth - t.clientWidth)"
            assert max(phone.page.evaluate(hidden)) <= 0, path
    back = phone.page.evaluate("getComputedStyle(document.body).getPropertyValue('--bg').trim()")
    assert back == {"light": "#f5f6f8", "dark": "#0e1216"}[scheme]
    assert phone.page.locator("nav.pages").bounding_box()["y"] > 600
    phone.context.close()


def test_a_class_sees_and_does_what_it_may(box, chromium):
    rita = Operator(chromium, f"https://127.0.0.1:{box.port}")
    rita.log_in("rita", PASSWORD, FLOW)
    rita.until("RTT on the subscriber's side")
    rita.page.get_by_role("button", name="Capture").click()
    rita.until("The class read-only does not allow `request wire capture`", "body")
    rita.page.get_by_role("button", name="Log out").click()
    rita.page.wait_for_url("**/login")
    rita.go("/flows")
    rita.page.get_by_label("Password").wait_for()
    rita.context.close()


def test_a_class_that_must_not_know_subscribers_does_not_learn_of_them(box, chromium):
    hugo = Operator(chromium, f"https://127.0.0.1:{box.port}")
    hugo.log_in("hugo", PASSWORD, "/flows")
    hugo.until("(hidden)")
    for path in ("/flows", "/subscribers", "/"):
        hugo.go(path)
        hugo.page.locator("#main .panel").first.wait_for()
        assert "100.64.3." not in hugo.page.content()
    hugo.go("/flows?search=100.64.3.10")
    hugo.until("The class veiled does not see subscribers", "body")
    hugo.go(FLOW)
    hugo.until("The class veiled does not see subscribers", "body")
    hugo.context.close()


def test_a_session_without_input_ends_though_its_page_redraws_itself(box, chromium):
    operator = Operator(chromium, f"https://127.0.0.1:{box.port}")
    operator.log_in(USER, PASSWORD)
    operator.page.locator("#main .tile").first.wait_for()
    for session in box.engine.sessions:
        session.touched -= 16 * 60
    operator.page.wait_for_url("**/login")
    operator.context.close()
