//! Ways in which other programs reach a card.
