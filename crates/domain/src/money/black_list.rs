//! The black and the grey list: cards that terminals refuse, in versions, so that a terminal that was away
//! for days fetches only what changed.
//!
//! A *black* card was lost, copied or closed: a terminal refuses it and locks it. A *grey* card is being
//! examined: a terminal takes no value from it and puts none on it, and leaves it unlocked. The list is a
//! fold over its changes, so a terminal and the centre that have the same changes have the same list, and
//! the digest says so without sending it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bytes::Sha256Digest;
use crate::id::CardNumber;

/// How strictly a card is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListKind {
    /// Refused, and locked by the terminal that meets it.
    Black,
    /// Refused until it has been examined.
    Grey,
}

/// Why a card is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListReason {
    /// The rider reported it lost.
    Lost,
    /// Two proven transactions have the same counter: the card was copied or put back to an earlier state.
    Copied,
    /// A counter of the card went back.
    CounterWentBack,
    /// Its balance does not follow from its transactions.
    BalanceDoesNotFollow,
    /// Frozen for another reason, which the account gives.
    Frozen,
    /// Its account is closed, so no copy may spend.
    Closed,
    /// An operator decided, with four eyes.
    Decided,
}

/// The number of a version: how many changes led to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ListVersion(pub u64);

/// A card on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListedCard {
    /// The card.
    pub card: CardNumber,
    /// How strictly.
    pub kind: ListKind,
    /// Why.
    pub reason: ListReason,
}

/// What a change does to a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListAction {
    /// The card is put on the list, or its kind and reason change.
    Put(ListKind, ListReason),
    /// The card is taken off the list.
    Remove,
}

/// One change of the list. It makes the version that it is numbered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ListChange {
    /// The version that it makes.
    pub version: ListVersion,
    /// The card.
    pub card: CardNumber,
    /// What happens to it.
    pub action: ListAction,
}

/// Why changes cannot be applied to a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// A change is missing between the list and the changes.
    #[error("the list is at version {held}, and the next change makes version {found}")]
    Gap {
        /// The version of the list.
        held: ListVersion,
        /// The version of the change.
        found: ListVersion,
    },
    /// The list is not what its sender says it is.
    #[error("the list at version {0} does not have the digest that came with it")]
    Digest(ListVersion),
    /// A card stands on the list twice.
    #[error("a card stands on the list twice")]
    Twice,
}

/// The list at one version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CardList {
    version: ListVersion,
    #[serde(with = "as_cards")]
    cards: BTreeMap<CardNumber, (ListKind, ListReason)>,
}

impl ListVersion {
    /// Before the first change: an empty list.
    pub const NONE: Self = Self(0);

    /// The version after one more change.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for ListVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ListKind {
    /// The name, as stores and files write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Black => "black",
            Self::Grey => "grey",
        }
    }

    /// The kind that has this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Black, Self::Grey].into_iter().find(|kind| kind.name() == name)
    }
}

impl ListReason {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::Lost,
        Self::Copied,
        Self::CounterWentBack,
        Self::BalanceDoesNotFollow,
        Self::Frozen,
        Self::Closed,
        Self::Decided,
    ];

    /// The name, as stores and files write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Copied => "copied",
            Self::CounterWentBack => "counter_went_back",
            Self::BalanceDoesNotFollow => "balance_does_not_follow",
            Self::Frozen => "frozen",
            Self::Closed => "closed",
            Self::Decided => "decided",
        }
    }

    /// The reason that has this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

impl CardList {
    /// A whole list, as a store or a message holds it.
    pub fn new(version: ListVersion, cards: impl IntoIterator<Item = ListedCard>) -> Result<Self, ListError> {
        let mut list = Self { version, cards: BTreeMap::new() };
        for listed in cards {
            if list.cards.insert(listed.card, (listed.kind, listed.reason)).is_some() {
                return Err(ListError::Twice);
            }
        }
        Ok(list)
    }

    /// The version.
    pub const fn version(&self) -> ListVersion {
        self.version
    }

    /// How a card is listed, if it is.
    pub fn standing(&self, card: CardNumber) -> Option<(ListKind, ListReason)> {
        self.cards.get(&card).copied()
    }

    /// Every listed card, in order of number.
    pub fn cards(&self) -> impl Iterator<Item = ListedCard> + '_ {
        self.cards.iter().map(|(card, (kind, reason))| ListedCard {
            card: *card,
            kind: *kind,
            reason: *reason,
        })
    }

    /// How many cards are listed.
    pub fn len(&self) -> usize {
        self.cards.len()
    }

    /// Whether no card is listed.
    pub fn is_empty(&self) -> bool {
        self.cards.is_empty()
    }

    /// The list after `changes`, which must follow from its version one by one. Changes that it has already
    /// are passed over, so the same answer may come twice.
    pub fn after(mut self, changes: impl IntoIterator<Item = ListChange>) -> Result<Self, ListError> {
        for change in changes {
            if change.version <= self.version {
                continue;
            }
            if change.version != self.version.next() {
                return Err(ListError::Gap { held: self.version, found: change.version });
            }
            self.version = change.version;
            match change.action {
                ListAction::Put(kind, reason) => self.cards.insert(change.card, (kind, reason)),
                ListAction::Remove => self.cards.remove(&change.card),
            };
        }
        Ok(self)
    }

    /// The digest of version and cards: two lists with the same digest are the same.
    pub fn digest(&self) -> Sha256Digest {
        let mut text = format!("OPENTSM-LIST-1\n{}\n{}\n", self.version, self.cards.len());
        for listed in self.cards() {
            text.push_str(listed.card.as_str());
            text.push(' ');
            text.push_str(listed.kind.name());
            text.push(' ');
            text.push_str(listed.reason.name());
            text.push('\n');
        }
        Sha256Digest::of(text.as_bytes())
    }

    /// Whether the list is the one that its sender has at this version.
    pub fn check(&self, version: ListVersion, digest: Sha256Digest) -> Result<(), ListError> {
        if self.version == version && self.digest() == digest {
            Ok(())
        } else {
            Err(ListError::Digest(version))
        }
    }
}

/// A list in JSON: its cards as records, because a card number is no key there.
mod as_cards {
    use std::collections::BTreeMap;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

    use super::{CardNumber, ListKind, ListReason, ListedCard};

    type Cards = BTreeMap<CardNumber, (ListKind, ListReason)>;

    pub(super) fn serialize<S: Serializer>(cards: &Cards, serializer: S) -> Result<S::Ok, S::Error> {
        let listed = cards.iter().map(|(card, (kind, reason))| ListedCard {
            card: *card,
            kind: *kind,
            reason: *reason,
        });
        listed.collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cards, D::Error> {
        let mut cards = Cards::new();
        for listed in Vec::<ListedCard>::deserialize(deserializer)? {
            if cards.insert(listed.card, (listed.kind, listed.reason)).is_some() {
                return Err(D::Error::custom(super::ListError::Twice));
            }
        }
        Ok(cards)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn card(own: u64) -> CardNumber {
        CardNumber::compose("31049990", own).unwrap()
    }

    fn put(version: u64, own: u64, kind: ListKind) -> ListChange {
        let action = ListAction::Put(kind, ListReason::Lost);
        ListChange { version: ListVersion(version), card: card(own), action }
    }

    fn remove(version: u64, own: u64) -> ListChange {
        ListChange { version: ListVersion(version), card: card(own), action: ListAction::Remove }
    }

    #[test]
    fn changes_lead_from_one_version_to_the_next() {
        let changes = [put(1, 7, ListKind::Grey), put(2, 8, ListKind::Black), put(3, 7, ListKind::Black)];
        let list = CardList::default().after(changes).unwrap();
        assert_eq!(list.version(), ListVersion(3));
        assert_eq!(list.standing(card(7)), Some((ListKind::Black, ListReason::Lost)));
        assert_eq!(list.len(), 2);
        let list = list.after([remove(4, 7)]).unwrap();
        assert_eq!(list.standing(card(7)), None);
        assert_eq!(list.clone().after(changes).unwrap(), list, "changes that it has change nothing");
        assert_eq!(
            list.after([remove(6, 8)]),
            Err(ListError::Gap { held: ListVersion(4), found: ListVersion(6) })
        );
    }

    #[test]
    fn a_list_that_differs_has_another_digest() {
        let list = CardList::default().after([put(1, 7, ListKind::Grey)]).unwrap();
        let black = CardList::default().after([put(1, 7, ListKind::Black)]).unwrap();
        let later = list.clone().after([put(2, 7, ListKind::Grey)]).unwrap();
        assert_ne!(list.digest(), black.digest());
        assert_ne!(list.digest(), later.digest(), "the version is part of it");
        assert_eq!(list.check(ListVersion(1), list.digest()), Ok(()));
        assert_eq!(list.check(ListVersion(1), black.digest()), Err(ListError::Digest(ListVersion(1))));
        assert_eq!(list.check(ListVersion(2), list.digest()), Err(ListError::Digest(ListVersion(2))));
    }

    #[test]
    fn a_list_travels_as_its_cards() {
        let list = CardList::default().after([put(1, 7, ListKind::Grey)]).unwrap();
        let text = serde_json::to_string(&list).unwrap();
        assert_eq!(serde_json::from_str::<CardList>(&text).unwrap(), list);
        let one = list.cards().next().unwrap();
        assert_eq!(CardList::new(ListVersion(1), [one, one]), Err(ListError::Twice));
        let twice = text.replace("[{", &format!("[{},{{", serde_json::to_string(&one).unwrap()));
        assert!(serde_json::from_str::<CardList>(&twice).is_err());
    }

    #[test]
    fn names_round_trip() {
        for reason in ListReason::ALL {
            assert_eq!(ListReason::from_name(reason.name()), Some(reason));
        }
        for kind in [ListKind::Black, ListKind::Grey] {
            assert_eq!(ListKind::from_name(kind.name()), Some(kind));
        }
    }

    proptest! {
        /// Whatever a terminal missed, the changes since its version bring it to the centre's list.
        #[test]
        fn any_split_of_the_changes_gives_the_same_list(
            steps in prop::collection::vec((0u64..6, 0u8..3), 0..30),
            at in 0usize..30,
        ) {
            let changes: Vec<_> = (1..).zip(steps).map(|(version, (own, what))| match what {
                0 => remove(version, own),
                1 => put(version, own, ListKind::Grey),
                _ => put(version, own, ListKind::Black),
            }).collect();
            let whole = CardList::default().after(changes.iter().copied()).unwrap();
            let at = at.min(changes.len());
            let early = CardList::default().after(changes[..at].iter().copied()).unwrap();
            let caught_up = early.after(changes[at..].iter().copied()).unwrap();
            prop_assert_eq!(caught_up.digest(), whole.digest());
            let copied = CardList::new(whole.version(), whole.cards()).unwrap();
            prop_assert_eq!(copied, whole);
        }
    }
}
