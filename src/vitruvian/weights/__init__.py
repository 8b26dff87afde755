"""Network files and what is known about them: cards (licence, input, skeleton, figures), the embedded defaults, what a foreign graph is.

Here too: the table of public networks (published), what their licences allow (licences), the store that fetches and keeps them (store,
download, intake), and taking in others (add).
Running a network is the business of `vitruvian.runtime`; reading published PyTorch checkpoints that of `vitruvian.systems`.
"""

from vitruvian.weights.card import Card, verify
from vitruvian.weights.find import EMBEDDED, card_for, infer_card

__all__ = ["EMBEDDED", "Card", "card_for", "infer_card", "verify"]
