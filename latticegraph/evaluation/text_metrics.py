"""How near written texts are to those that were meant.

Legend: N texts, D teacher width.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

from latticegraph.errors import ConfigError, DataError

_TOKEN = re.compile(r"\w+(?:'\w+)?")

FUNCTION_WORDS = frozenset(
    """
    a about above after again all also an and any are as at be because been before being below
    between both but by can could did do does doing down during each else few for from further had
    has have having he her here him his how i if in into is it its itself just like may me might
    more most must my no nor not of off on once one only or other our out over own same she should
    so some such than that the their them then there these they this those through to too under
    until up very was we were what when where whether which while who whom why will with would you
    your
    """.split()  # noqa: SIM905
)
"""Words that any English sentence may hold, whatever it says."""


def words(text: str, without: Collection[str] = ()) -> list[str]:
    """The words and numbers of a text in lower case, in order.

    Args:
        text: any.
        without: words that are left out.

    >>> words("Don't close the file_2!", without={"the"})
    ["don't", 'close', 'file_2']
    """
    return [word for word in _TOKEN.findall(text.lower()) if word not in without]


def token_f1(written: str, meant: str, without: Collection[str] = ()) -> float:
    """F1 of the words of two texts as multisets, 0 to 1 (as SQuAD; Rajpurkar et al. 2016).

    ``2 c / (w + m)`` with w and m words and c words in common. Two texts without words agree.

    Args:
        written: what was written.
        meant: what should have been.
        without: words that are left out of both.

    >>> token_f1("the old file", "The file is old, old!")
    0.75
    """
    one, other = Counter(words(written, without)), Counter(words(meant, without))
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 1.0


def text_metrics(written: Sequence[str], meant: Sequence[str]) -> dict[str, float]:
    """Corpus BLEU and chrF, mean F1 of words, and the share of exact matches.

    BLEU (Papineni et al. 2002) and chrF (Popović 2015) are those of sacrebleu with its own
    settings, 0 to 100, over the whole corpus and not a mean of sentences. All else is 0 to 1;
    ``content_f1`` leaves out :data:`FUNCTION_WORDS`.

    Args:
        written: N texts.
        meant: text i should have been text i of these.

    Returns:
        ``bleu``, ``chrf``, ``token_f1``, ``content_f1``, ``exact``.

    Raises:
        DataError: there are no texts, or not one for each.
        ConfigError: sacrebleu is not installed.
    """
    if not written or len(written) != len(meant):
        raise DataError(
            "texts",
            f"expected one written text for each of {len(meant)}, got {len(written)}",
            "Pass as many of both, at least one",
        )
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as error:
        raise ConfigError(
            "sacrebleu",
            "expected the package sacrebleu for BLEU and chrF, got none",
            "Install it with: pip install 'latticegraph[decode]'",
        ) from error
    pairs, count = list(zip(written, meant, strict=True)), len(written)
    return {
        "bleu": float(BLEU().corpus_score(list(written), [list(meant)]).score),
        "chrf": float(CHRF().corpus_score(list(written), [list(meant)]).score),
        "token_f1": sum(token_f1(*pair) for pair in pairs) / count,
        "content_f1": sum(token_f1(*pair, FUNCTION_WORDS) for pair in pairs) / count,
        "exact": sum(one == other for one, other in pairs) / count,
    }
