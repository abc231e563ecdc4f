//! The list of cards that a terminal refuses, as the centre signs it: black cards are locked, grey ones
//! only refused ([`tsm_domain::money::CardList`]).
//!
//! A terminal takes an update when the centre's signature over the list that it leads to is right, and keeps the
//! list that it has otherwise. What happens when nothing newer arrives for days is a matter of [`ListPolicy`].

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tsm_api::{
    clearing::lists::{ListUpdate, UpdateError},
    signature::MessageVerifier,
};
use tsm_domain::{
    CardNumber,
    money::{CardList, ListKind},
};
use tsm_epurse::file::ApplicationSerial;

/// A list, and when the centre signed it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ListInUse {
    /// The list.
    pub list: CardList,
    /// When the centre signed it; none for the empty list of a new terminal.
    pub signed_at: Option<Timestamp>,
}

/// What a terminal does while its list grows old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListPolicy {
    /// After so many hours a list is old.
    pub fresh_hours: u32,
    /// What happens then.
    pub when_old: WhenOld,
}

/// What a terminal does with an old list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenOld {
    /// It goes on serving.
    Serve,
    /// It moves no value until it has a newer list. Who is inside still gets out.
    Refuse,
}

impl Default for ListPolicy {
    /// Three days, and on.
    fn default() -> Self {
        Self { fresh_hours: 72, when_old: WhenOld::Serve }
    }
}

impl ListInUse {
    /// How a card is listed, if it is.
    pub fn standing(&self, card: ApplicationSerial) -> Option<ListKind> {
        let card = CardNumber::from_application_serial(&card.0).ok()?;
        self.list.standing(card).map(|(kind, _)| kind)
    }

    /// The list after `update`, which the centre must have signed.
    pub fn after(&self, update: &ListUpdate, centre: &MessageVerifier) -> Result<Self, UpdateError> {
        let list = update.apply(&self.list, centre)?;
        Ok(Self { list, signed_at: Some(update.head.at) })
    }

    /// Whether the list is older at `now` than `policy` wants it.
    pub fn is_old(&self, policy: &ListPolicy, now: Timestamp) -> bool {
        let fresh = SignedDuration::from_hours(policy.fresh_hours.into());
        self.signed_at.is_none_or(|signed| now.duration_since(signed) > fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_grows_old() {
        let signed: Timestamp = "2026-03-14T00:00:00Z".parse().unwrap();
        let list = ListInUse { list: CardList::default(), signed_at: Some(signed) };
        let policy = ListPolicy::default();
        assert!(!list.is_old(&policy, signed + SignedDuration::from_hours(72)));
        assert!(list.is_old(&policy, signed + SignedDuration::from_hours(73)));
        assert!(ListInUse::default().is_old(&policy, signed), "a terminal without any list has an old one");
    }
}
