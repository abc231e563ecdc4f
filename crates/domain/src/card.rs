//! A transport card as its issuer (the SP-TSM) keeps it, and the order that opens it.

use serde::{Deserialize, Serialize};
use tsm_iso7816::Aid;

use crate::amount::{Fen, OnlineCounter};
use crate::id::{CardNumber, KeyReference, Msisdn, OperationId, OrderId, SeId, TerminalNumber};
use crate::money::ClosingPurpose;
use crate::se_application::HeldValue;

/// Where a card stands at its issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CardState {
    /// Being personalised: whether the card can be used is not proven.
    Issuing,
    /// In use.
    Active,
    /// Locked by its issuer.
    Locked,
    /// Being closed: it was ordered to block itself.
    Closing,
    /// Blocked, read, and parked at the centre.
    Parked,
    /// Gone from the SE that carried it, or never finished. Only a card that is parked at the centre comes
    /// back, on whichever SE claims it.
    Closed,
}

/// What the card last proved of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvenPurse {
    /// The balance.
    pub balance: Fen,
    /// The online counter.
    pub counter: OnlineCounter,
    /// When.
    pub at: jiff::Timestamp,
}

/// An online debit of all that a purse holds, as it was intended before its MAC2 left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Debit {
    /// The terminal number of the debit, never used before on the card.
    pub terminal: TerminalNumber,
    /// The online counter before it, proven by MAC1.
    pub counter: OnlineCounter,
    /// The balance before it, proven by MAC1, which is all debited.
    pub balance: Fen,
    /// The date and time that MAC2 was made for.
    pub at: jiff::Timestamp,
}

/// How far a card's issuer has come with closing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClosingProgress {
    /// It is meant to be closed. The card was not asked.
    Intended,
    /// The card was asked to block itself, or may have been: only the card knows.
    Asked,
    /// The card, which cannot prove its content, was asked to give up its whole balance, or may have been.
    Debiting(Debit),
    /// The blocked card was read, and proved this balance. The centre does not know yet.
    Parked(Fen),
    /// The centre has it.
    Told(Fen),
}

/// A return or migration of a card, from its beginning to the centre's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardClosing {
    /// Its number.
    pub operation: OperationId,
    /// Why.
    pub purpose: ClosingPurpose,
    /// What the card was before, and is again when the closing is undone.
    pub before: CardState,
    /// When it began.
    pub begun_at: jiff::Timestamp,
    /// How far it has come.
    pub progress: ClosingProgress,
    /// The place of its end among all that the SE-TSM is told of the application on the SE; none until it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_number: Option<u64>,
}

/// A change of a card's lock at its holder's wish (B-8.5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LockChange {
    /// It is locked.
    Lock,
    /// It is unlocked.
    Unlock,
}

/// A lock or unlock that the card was asked for, or may have been: only the card knows what came of it. It is
/// stored before the command leaves, and goes when the card has been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockIntention {
    /// Its number.
    pub operation: OperationId,
    /// Which.
    pub change: LockChange,
    /// When it was begun.
    pub begun_at: jiff::Timestamp,
}

/// A card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardRecord {
    /// Its number.
    pub card: CardNumber,
    /// The SE that carries it.
    pub se: SeId,
    /// The application instance on the SE.
    pub instance: Aid,
    /// The order that opened it.
    pub order: OrderId,
    /// The key service's label of the purse's master keys.
    pub keys: KeyReference,
    /// Their version.
    pub key_version: u8,
    /// 00 for 3DES, 01 for SM4 (D-33).
    pub algorithm: u8,
    /// Where it stands.
    pub state: CardState,
    /// What it last proved.
    pub proven: Option<ProvenPurse>,
    /// Set while the card is suspicious: no value moves.
    pub frozen: Option<String>,
    /// The return or migration that was begun last.
    #[serde(default)]
    pub closing: Option<CardClosing>,
    /// A lock or unlock whose outcome is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockIntention>,
    /// When it was made.
    pub issued_at: jiff::Timestamp,
}

/// How far an order to open a card has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CardOrderState {
    /// Accepted: the download was consented to.
    Accepted,
    /// Personalisation was about to be sent; the card tells at the next contact.
    PersonalisationIntended,
    /// The card proved that it is personalised.
    Opened,
    /// The centre has the account.
    Told,
    /// Given up.
    GivenUp,
}

/// An order to open a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardOrder {
    /// The order.
    pub order: OrderId,
    /// The SE.
    pub se: SeId,
    /// The rider's number.
    pub number: Option<Msisdn>,
    /// The application.
    pub application: Aid,
    /// The card number it was given.
    pub card: CardNumber,
    /// How far it has come.
    pub state: CardOrderState,
    /// When it was accepted.
    pub created_at: jiff::Timestamp,
}

/// Why a step is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CardRefusal {
    /// The state does not allow it.
    #[error("a card that is {from:?} cannot become {to:?}")]
    Card {
        /// From.
        from: CardState,
        /// To.
        to: CardState,
    },
    /// The state does not allow it.
    #[error("an order that is {from:?} cannot become {to:?}")]
    Order {
        /// From.
        from: CardOrderState,
        /// To.
        to: CardOrderState,
    },
    /// The card still holds money, or nobody knows.
    #[error("the card still holds value, or its balance is not known: {0:?}")]
    HoldsValue(HeldValue),
    /// The card is frozen.
    #[error("the card is frozen for value until it has been examined")]
    Frozen,
}

impl CardState {
    /// The card becomes `to`. Becoming what it is changes nothing.
    pub fn moved_to(self, to: Self) -> Result<Self, CardRefusal> {
        use CardState::{Active, Closed, Closing, Issuing, Locked, Parked};
        let allowed = match self {
            Issuing => &[Active, Closed][..],
            Active => &[Locked, Closing],
            // A lock of the application does not stop the return of the card (D-7).
            Locked => &[Active, Closing],
            Closing => &[Active, Locked, Parked],
            // Migrated in: the centre has given it to the SE of the record.
            Parked => &[Closed, Issuing],
            Closed => &[Issuing],
        };
        if self == to || allowed.contains(&to) { Ok(to) } else { Err(CardRefusal::Card { from: self, to }) }
    }
}

impl CardOrderState {
    /// The order becomes `to`. Becoming what it is changes nothing.
    pub fn moved_to(self, to: Self) -> Result<Self, CardRefusal> {
        use CardOrderState::{Accepted, GivenUp, Opened, PersonalisationIntended, Told};
        let allowed = match self {
            Accepted => &[PersonalisationIntended, GivenUp][..],
            PersonalisationIntended => &[Opened, GivenUp],
            Opened => &[Told],
            Told | GivenUp => &[],
        };
        if self == to || allowed.contains(&to) { Ok(to) } else { Err(CardRefusal::Order { from: self, to }) }
    }
}

impl LockChange {
    /// What the card is when it is done.
    pub const fn state(self) -> CardState {
        match self {
            Self::Lock => CardState::Locked,
            Self::Unlock => CardState::Active,
        }
    }
}

impl CardRecord {
    /// The card, about to be asked for a change of its lock. What it is stays until it has been seen; a change
    /// whose outcome was not known gives way to this one.
    pub fn with_lock_intended(&self, intention: LockIntention) -> Result<Self, CardRefusal> {
        self.check_lockable(intention.change)?;
        Ok(Self { lock: Some(intention), ..self.clone() })
    }

    /// The card, seen to be locked or not.
    pub fn with_lock_seen(&self, seen: LockChange) -> Result<Self, CardRefusal> {
        self.check_lockable(seen)?;
        Ok(Self { state: seen.state(), lock: None, ..self.clone() })
    }

    // Only a card in use has a lock of its holder's.
    const fn check_lockable(&self, change: LockChange) -> Result<(), CardRefusal> {
        match self.state {
            CardState::Active | CardState::Locked => Ok(()),
            from => Err(CardRefusal::Card { from, to: change.state() }),
        }
    }

    /// What a deletion would destroy (B-8.5.3.b).
    pub fn held_value(&self) -> HeldValue {
        match (self.state, &self.proven) {
            (CardState::Parked | CardState::Closed, _) => HeldValue::Settled,
            // Personalised with nothing, and never topped up: no order can have put money on it.
            (CardState::Issuing, None) => HeldValue::None,
            (_, Some(proven)) => HeldValue::Unsettled(proven.balance),
            (CardState::Active | CardState::Locked | CardState::Closing, None) => HeldValue::Unknown,
        }
    }

    /// The closing that is under way: begun, and neither undone nor known to the centre.
    pub fn open_closing(&self) -> Option<&CardClosing> {
        let closing = self.closing.as_ref()?;
        match (self.state, closing.progress) {
            (CardState::Closing, _) | (CardState::Parked, ClosingProgress::Parked(_)) => Some(closing),
            _ => None,
        }
    }

    /// The card with its closing's progress changed.
    pub fn with_progress(&self, progress: ClosingProgress) -> Self {
        let closing = self.closing.map(|closing| CardClosing { progress, ..closing });
        Self { closing, ..self.clone() }
    }

    /// The card as it is parked: blocked or emptied, with what it proved. `end_number` is the place of this among all
    /// that the SE-TSM is told of it.
    #[must_use]
    pub fn parked(&self, proven: ProvenPurse, end_number: u64) -> Self {
        let progress = ClosingProgress::Parked(proven.balance);
        let end_number = Some(end_number);
        let closing = self.closing.map(|closing| CardClosing { progress, end_number, ..closing });
        Self { state: CardState::Parked, proven: Some(proven), lock: None, closing, ..self.clone() }
    }

    /// Whether value may move now.
    pub fn may_move_value(&self) -> Result<(), CardRefusal> {
        if self.frozen.is_some() {
            return Err(CardRefusal::Frozen);
        }
        match self.state {
            CardState::Active => Ok(()),
            from => Err(CardRefusal::Card { from, to: CardState::Active }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_states_move_along_their_table() {
        use CardState::{Active, Closed, Closing, Issuing, Locked, Parked};
        let all = [Issuing, Active, Locked, Closing, Parked, Closed];
        let allowed = [
            (Issuing, Active),
            (Issuing, Closed),
            (Active, Locked),
            (Locked, Active),
            (Active, Closing),
            (Locked, Closing),
            (Closing, Active),
            (Closing, Locked),
            (Closing, Parked),
            (Parked, Closed),
            (Parked, Issuing),
            (Closed, Issuing),
        ];
        for from in all {
            for to in all {
                assert_eq!(
                    from.moved_to(to).is_ok(),
                    from == to || allowed.contains(&(from, to)),
                    "{from:?} {to:?}"
                );
            }
        }
    }

    #[test]
    fn an_order_is_given_up_only_before_the_card_is_open() {
        use CardOrderState::{Accepted, GivenUp, Opened, PersonalisationIntended, Told};
        assert_eq!(Accepted.moved_to(GivenUp), Ok(GivenUp));
        assert_eq!(PersonalisationIntended.moved_to(GivenUp), Ok(GivenUp));
        assert!(Opened.moved_to(GivenUp).is_err());
        assert!(Accepted.moved_to(Opened).is_err(), "the intention comes first");
        assert_eq!(Opened.moved_to(Told), Ok(Told));
    }

    fn card() -> CardRecord {
        CardRecord {
            card: "3104990000000000017".parse().unwrap(),
            se: SeId::new(&[1]).unwrap(),
            instance: Aid::constant(b"PURSE"),
            order: OrderId::from_uuid(uuid::Uuid::nil()),
            keys: "city/purse".parse().unwrap(),
            key_version: 1,
            algorithm: 0,
            state: CardState::Active,
            proven: None,
            frozen: None,
            closing: None,
            lock: None,
            issued_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    /// A lock that is intended leaves the card what it was until it has been seen.
    #[test]
    fn a_lock_counts_when_the_card_has_been_seen() {
        let operation = OperationId::from_uuid(uuid::Uuid::nil());
        let intend = |change| LockIntention { operation, change, begun_at: jiff::Timestamp::UNIX_EPOCH };
        let active = card();
        let asked = active.with_lock_intended(intend(LockChange::Lock)).unwrap();
        assert_eq!((asked.state, asked.lock), (CardState::Active, Some(intend(LockChange::Lock))));
        let again = asked.with_lock_intended(intend(LockChange::Unlock)).unwrap();
        assert_eq!(again.lock, Some(intend(LockChange::Unlock)), "the later wish counts");
        let locked = asked.with_lock_seen(LockChange::Lock).unwrap();
        assert_eq!((locked.state, locked.lock), (CardState::Locked, None));
        assert_eq!(asked.with_lock_seen(LockChange::Unlock), Ok(active));
        for state in [CardState::Issuing, CardState::Closing, CardState::Parked, CardState::Closed] {
            let other = CardRecord { state, ..card() };
            assert!(other.with_lock_intended(intend(LockChange::Unlock)).is_err(), "{state:?}");
            assert!(other.with_lock_seen(LockChange::Lock).is_err(), "{state:?}");
        }
    }

    #[test]
    fn what_a_deletion_would_destroy() {
        let purse = |fen| ProvenPurse {
            balance: Fen::new(fen),
            counter: OnlineCounter(1),
            at: jiff::Timestamp::UNIX_EPOCH,
        };
        let card = card();
        let rows = [
            (CardState::Issuing, None, HeldValue::None),
            (CardState::Active, None, HeldValue::Unknown),
            (CardState::Active, Some(purse(7)), HeldValue::Unsettled(Fen::new(7))),
            (CardState::Closing, Some(purse(0)), HeldValue::Unsettled(Fen::ZERO)),
            (CardState::Parked, Some(purse(7)), HeldValue::Settled),
        ];
        for (state, proven, expected) in rows {
            assert_eq!(CardRecord { state, proven, ..card.clone() }.held_value(), expected, "{state:?}");
        }
        let frozen = CardRecord { frozen: Some("counter went back".into()), ..card.clone() };
        assert_eq!(frozen.may_move_value(), Err(CardRefusal::Frozen));
        assert_eq!(card.may_move_value(), Ok(()));
    }
}
