//! Subscriptions: the relation of a user's SE, an application or security domain, and its provider
//! (P-5.5.1.b, P-5.7.2.2.2).

use serde::{Deserialize, Serialize};
use tsm_iso7816::Aid;

use crate::application::DeletionMode;
use crate::id::{Msisdn, ProviderId, SeId, SubscriptionId};

/// What is subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Subscribed {
    /// An application.
    Application(Aid),
    /// A security domain.
    Domain(Aid),
}

/// Where a subscription stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubscriptionState {
    /// It counts, and space is charged.
    Active,
    /// The business side cancelled it; what it is about is still on the SE.
    Cancelled(jiff::Timestamp),
    /// Ended: what it was about is gone from the SE.
    Ended(jiff::Timestamp),
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its identity, which a migration keeps (P-5.5.4.a).
    pub id: SubscriptionId,
    /// The SE.
    pub se: SeId,
    /// The number that ordered it.
    pub number: Msisdn,
    /// What.
    pub what: Subscribed,
    /// Whose.
    pub provider: ProviderId,
    /// Since when.
    pub since: jiff::Timestamp,
    /// Where it stands.
    pub state: SubscriptionState,
}

impl Subscribed {
    /// The AID, of whichever kind.
    pub const fn aid(self) -> Aid {
        match self {
            Self::Application(aid) | Self::Domain(aid) => aid,
        }
    }
}

impl Subscription {
    /// Whether it keeps the SE bound to its number (P-5.5.2.k).
    pub const fn is_active(&self) -> bool {
        matches!(self.state, SubscriptionState::Active)
    }

    /// Its application came to another SE of the same number. It counts as before, under the same identity,
    /// whatever the SE that it left did to it.
    pub fn moved_to(self, se: SeId) -> Self {
        Self { se, state: SubscriptionState::Active, ..self }
    }

    /// Its user goes on under another number (P-5.5.5).
    pub fn renumbered(self, number: Msisdn) -> Self {
        Self { number, ..self }
    }

    /// The business side cancels it.
    pub fn cancelled(self, at: jiff::Timestamp) -> Self {
        match self.state {
            SubscriptionState::Active => Self { state: SubscriptionState::Cancelled(at), ..self },
            SubscriptionState::Cancelled(_) | SubscriptionState::Ended(_) => self,
        }
    }

    /// What it is about was deleted from the SE. When only the instance went and the file was kept, the
    /// subscription is kept too and space goes on being charged (P-5.7.2.2.2.e, D-12).
    pub fn deleted(self, mode: DeletionMode, at: jiff::Timestamp) -> Self {
        match (mode, &self.state) {
            (DeletionMode::InstanceOnly, _) | (DeletionMode::Full, SubscriptionState::Ended(_)) => self,
            (DeletionMode::Full, SubscriptionState::Active | SubscriptionState::Cancelled(_)) => {
                Self { state: SubscriptionState::Ended(at), ..self }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: P-5.7.2.2.2.a, P-5.7.2.2.2.c, P-5.7.2.2.2.e
    #[test]
    fn full_deletion_ends_it_and_instance_deletion_does_not() {
        let active = Subscription {
            id: SubscriptionId::from_uuid(uuid::Uuid::nil()),
            se: SeId::new(&[1]).unwrap(),
            number: "13800138000".parse().unwrap(),
            what: Subscribed::Application(Aid::constant(b"APPLI")),
            provider: "CITY".parse().unwrap(),
            since: jiff::Timestamp::UNIX_EPOCH,
            state: SubscriptionState::Active,
        };
        let at = jiff::Timestamp::UNIX_EPOCH;
        assert!(active.clone().deleted(DeletionMode::InstanceOnly, at).is_active());
        assert_eq!(active.clone().deleted(DeletionMode::Full, at).state, SubscriptionState::Ended(at));
        let cancelled = active.cancelled(at);
        assert!(!cancelled.is_active());
        assert_eq!(cancelled.clone().cancelled(jiff::Timestamp::MAX), cancelled, "the first time stays");
        let ended = cancelled.deleted(DeletionMode::Full, at);
        assert_eq!(ended.state, SubscriptionState::Ended(at));
        let moved = ended.clone().moved_to(SeId::new(&[2]).unwrap());
        assert_eq!((moved.id, moved.is_active()), (ended.id, true));
    }
}
