"""The service on a store in PostgreSQL: pages, searches and the stream are the same."""

import pytest

from tests.serve import test_web, test_web_feed, test_web_feedback
from tests.serve.shown_store import Shown

pytestmark = pytest.mark.real
CHECKS = [
    test_web.test_the_newest_verdicts_come_first,
    test_web.test_an_open_session_that_is_revised_comes_anew,
    test_web.test_a_verdict_says_what_detect_says_and_more,
    test_web.test_sessions_whose_names_are_odd_are_reached_by_their_ids,
    test_web.test_a_search_finds_names_kinds_and_telling_lines,
    test_web.test_a_search_goes_on_where_it_stopped,
    test_web.test_sources_and_new_kinds,
    test_web_feed.test_who_comes_back_gets_what_was_missed_and_then_what_is_new,
    test_web_feed.test_a_change_larger_than_an_event_is_whole_before_its_number_is_told,
    test_web_feed.test_many_writers_and_followers_who_come_and_go_miss_nothing,
    test_web_feedback.test_an_answer_is_given_listed_and_taken_back,
]


@pytest.fixture
def shown(databases):
    shown = Shown(databases.fresh())
    yield shown
    shown.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("test_"))
def test_it_is_the_same(shown, check):
    check(shown)


@pytest.mark.parametrize("direction", ["before", "after"])
def test_pages_are_the_same(shown, direction):
    test_web.test_pages_give_every_verdict_once_though_a_change_is_larger_than_a_page(
        shown, direction
    )


def test_the_timeline_is_the_same(databases):
    test_web.timeline_is_counted(databases.fresh())
