"""Stories told and summed up in sentences that are quoted from their evidence."""

from collections.abc import Iterable, Iterator, Sequence

from consumers.analysis import differences, quoting, text
from contracts.analysis import Evidence, Telling, Told

OF_LEAD = 3
"""Sentences of the leading article: the beginning of a news text is what readers rate best."""

OF_OTHERS = 2
"""Further sentences at most, one of each other site, that add to what was said."""

_SEARCHED = 12
"""Sentences of each article that are looked at: what follows from a story stands in its first half."""

_SAID = 0.5
"""A sentence that shares more of its words with what was said adds nothing."""


def tell(story: Sequence[Evidence]) -> Telling:
    """One story: its leading article's beginning, what others add, a consequence, and where figures differ."""
    lead = story[0]
    happened = [Told(text=sentence, evidence=(lead.id,)) for sentence in _beginning(lead)]
    happened += _additions(story, [told.text for told in happened])
    said = {told.text for told in happened}
    return Telling(
        title=quoting.clean(lead.title) or happened[0].text,
        happened=tuple(happened),
        matters=next(_consequences(story, said), None),
        differences=differences.between(story),
    )


def brief(tellings: Sequence[Telling], sentences: int) -> tuple[Told, ...]:
    """The first sentence of each story that stands alone, in the order of the stories, then the second ones."""
    alone = [[told for told in telling.happened if quoting.stands_alone(told.text)] for telling in tellings]
    found: dict[str, Told] = {}
    for place in range(OF_LEAD):
        for told in (choices[place] for choices in alone if len(choices) > place):
            found.setdefault(told.text, told)
    return tuple(found.values())[:sentences]


def _beginning(lead: Evidence) -> list[str]:
    usable = [sentence for sentence in _sentences(lead) if quoting.is_story(sentence)][:OF_LEAD]
    same = text.words(lead.title)
    return [sentence for sentence in usable if text.words(sentence) != same] or [quoting.clean(lead.title) or lead.id]


def _additions(story: Sequence[Evidence], said: Sequence[str]) -> list[Told]:
    """A sentence each of other sites, as long as each adds more than it repeats and is about the same thing."""
    lead = set(text.stems(f"{story[0].title} {story[0].text}"))
    known = {stem for sentence in said for stem in text.stems(sentence)}
    heard = {story[0].site}
    found: list[Told] = []
    for evidence in story[1:]:
        if evidence.site in heard or len(found) == OF_OTHERS:
            continue
        for sentence in _sentences(evidence):
            stems = set(text.stems(sentence))
            if quoting.stands_alone(sentence) and stems & lead and len(stems & known) <= _SAID * len(stems):
                found.append(Told(text=sentence, evidence=(evidence.id,)))
                known |= stems
                heard.add(evidence.site)
                break
    return found


def _consequences(story: Sequence[Evidence], said: Iterable[str]) -> Iterator[Told]:
    taken = set(said)
    for evidence in story:
        for sentence in _sentences(evidence):
            if sentence not in taken and quoting.stands_alone(sentence) and quoting.tells_a_consequence(sentence):
                yield Told(text=sentence, evidence=(evidence.id,))


def _sentences(evidence: Evidence) -> list[str]:
    return [quoting.clean(sentence) for sentence in text.sentences(evidence.text)[:_SEARCHED]]
