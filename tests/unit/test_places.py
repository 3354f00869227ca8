"""Who has a place in a report: the best, within the shares of sites, languages and regions."""

import collections
from collections.abc import Sequence

from consumers.stages.selection import places
from consumers.stages.selection.judged import Judged
from contracts import artifacts, intelligence
from tests.unit import material


def ranked(hosts: Sequence[tuple[str, str]]) -> list[places.Ranked]:
    """Articles of these sites and languages, each a little worse than the one before."""
    found = []
    for number, (host, language) in enumerate(hosts):
        article = material.article(f"a{number:03d}", f"Article {number}", "Text.", host=host, language=language)
        total = 1 - number / 1000
        scores = artifacts.Scores(relevance=total, quality=total, freshness=0.5, independence=0, total=total)
        found.append(places.Ranked(Judged(article, total, True, total, 0.5), number, scores))
    return found


def choose(hosts: Sequence[tuple[str, str]], **changes: object) -> places.Chosen:
    task = intelligence.ClassifierInput.model_validate({"topic": "energy", "feeds": material.gathered(), **changes})
    return places.choose(ranked(hosts), task)


def test_no_site_has_more_than_its_share_and_the_best_of_each_stay() -> None:
    hosts = [("big.example", "en")] * 30 + [(f"small{number}.example", "en") for number in range(30)]
    chosen = choose(hosts, max_articles=40, site_share=0.1)
    assert chosen.limits["site"] == 4
    taken = collections.Counter(each.item.article.site for each in chosen.kept)
    assert taken["big.example"] == 4
    assert len(chosen.kept) == 34
    assert [each.item.article.id for each in chosen.kept][:4] == ["a000", "a001", "a002", "a003"]
    assert {item.detail for item in chosen.left_out} == {"the site big.example already has 4 articles"}


def test_two_sites_may_fill_a_report_together() -> None:
    chosen = choose([("one.example", "en"), ("two.example", "en")] * 10, max_articles=20, site_share=0.1)
    assert chosen.limits["site"] == 10
    assert len(chosen.kept) == 20


def test_few_articles_are_not_made_fewer_still() -> None:
    chosen = choose([("one.example", "en")] * 3 + [("two.example", "en")], site_share=0.1)
    assert len(chosen.kept) == 4


def test_regions_and_languages_have_shares_as_well() -> None:
    hosts = [(f"s{number}.de", "de") for number in range(20)] + [(f"s{number}.fr", "fr") for number in range(20)]
    chosen = choose(hosts, max_articles=20, region_share=0.25, language_share=0.75)
    assert (chosen.limits["region"], chosen.limits["language"]) == (10, 15)
    regions = collections.Counter(places.region(each.item.article) for each in chosen.kept)
    assert regions == {"de": 10, "fr": 10}
    assert {item.reason for item in chosen.left_out} == {"quota", "over_limit"}


def test_an_address_that_anybody_may_have_names_no_region() -> None:
    named = {host: places.region(material.article("a", "A", "Text.", host=host)) for host in ("x.de", "x.com", "x.io")}
    assert named == {"x.de": "de", "x.com": "", "x.io": ""}


def test_feeds_of_a_platform_are_sites_of_their_own() -> None:
    films = [material.article(f"f{number}", "Film", "Text.", host="youtube.com") for number in range(2)]
    channels = [film.model_copy(update={"source_url": f"https://www.youtube.com/{film.id}"}) for film in films]
    assert len({places.site(channel) for channel in channels}) == 2


def test_several_quotas_at_once_come_to_an_end() -> None:
    hosts = [("s.de", "m")] * 3 + [(f"d{number}.de", "") for number in range(4)]
    hosts += [(f"c{number}.com", "l") for number in range(6)]
    hosts += [("f.fr", "l"), ("s.de", "l"), ("t.com", "l"), ("u.de", "l")]
    chosen = choose(hosts, max_articles=16, site_share=0.2, language_share=0.5, region_share=0.5)
    assert len(chosen.kept) + len(chosen.left_out) == len(hosts)
