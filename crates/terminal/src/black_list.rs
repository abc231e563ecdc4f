//! The list of cards that no terminal serves, as the centre distributes it.

use std::collections::BTreeSet;

use tsm_epurse::file::ApplicationSerial;

/// Card numbers, with the version of the list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlackList {
    version: u32,
    cards: BTreeSet<ApplicationSerial>,
}

impl BlackList {
    /// A list of one version.
    pub fn new(version: u32, cards: impl IntoIterator<Item = ApplicationSerial>) -> Self {
        Self { version, cards: cards.into_iter().collect() }
    }

    /// The list's version.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Whether the card is on it.
    pub fn has(&self, card: ApplicationSerial) -> bool {
        self.cards.contains(&card)
    }

    /// Takes `newer` in place of this list, unless it is older.
    pub fn replace(&mut self, newer: Self) {
        if newer.version >= self.version {
            *self = newer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_list_replaces_nothing() {
        let card = ApplicationSerial([3; 10]);
        let mut list = BlackList::new(2, [card]);
        list.replace(BlackList::new(1, []));
        assert!(list.has(card));
        list.replace(BlackList::new(3, []));
        assert!(!list.has(card));
    }
}
