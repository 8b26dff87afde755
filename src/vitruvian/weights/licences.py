"""May I use it? What the licence texts of a card allow.

A licence text begins with SPDX identifiers joined by "and" or commas; what follows a colon, semicolon or parenthesis explains them:
"Apache-2.0 (the repository's)", "synthetic: Anny bodies (CC0 ...)". Weights carry three of them, because a permissive file trained on
data for research only is not free to use everywhere: courts have not settled it, so the choice is the user's, and the list must tell.
"""

from __future__ import annotations

import re
from typing import Literal

from vitruvian.weights.card import Card

Licence = Literal["any", "code-and-weights", "permissive"]
"""A filter: all; code and weights permissive, whatever the data; code, weights and data permissive."""

PERMISSIVE = frozenset(
    "apache-2.0 mit bsd-2-clause bsd-3-clause isc zlib unlicense 0bsd cc0 cc0-1.0 cc-by-3.0 cc-by-4.0 synthetic public-domain".split()
)
"""Identifiers that allow any use, also a commercial one, asking at most for a mention; "synthetic" is data made by programs."""

_RESTRICTED = re.compile(
    r"non-?commercial|research|academic|\bnc\b|\bnd\b|gpl|unknown|not stated|not checked|various|flickr|\[mem\]", re.IGNORECASE
)


def is_permissive(text: str) -> bool:
    """Whether a licence text names permissive licences only, and says nothing else that restricts the use. An empty text does not."""
    head = re.split(r"[:;(]", text, maxsplit=1)[0]
    names = [name.strip().lower() for name in re.split(r",|\band\b", head)]
    return all(name in PERMISSIVE for name in names) and not _RESTRICTED.search(text)


def allows(card: Card, licence: Licence) -> bool:
    """Whether the card passes the filter."""
    texts = {
        "any": (),
        "code-and-weights": (card.licence_code, card.licence_weights),
        "permissive": (card.licence_code, card.licence_weights, card.licence_data),
    }
    return all(is_permissive(text) for text in texts[licence])
