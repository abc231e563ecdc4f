//! One closing of a card, from the intention to the money's end: returned and paid back, or claimed by
//! another SE and in use there.
//!
//! ```text
//! begun --> parked --> claimed --> arrived
//!   |          |  ^-------+ released
//!   +> undone  +> refund ordered --> refunded
//! ```
//!
//! Each step says what it does to the card's account and to the books; a step that was done before changes
//! nothing. What the card proved less than the books hold stays on its purse: those are taps on their way,
//! and they find it there when they come.

use serde::{Deserialize, Serialize};

use super::card_account::{CardAccountEvent, ClosingPurpose};
use super::ledger::TransferCode;
use crate::amount::Fen;
use crate::id::{CardNumber, OperationId, SeId, TerminalNumber};

/// How a card proved what it held when it could no longer spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParkingProof {
    /// It was blocked, then read under R-MAC.
    Read,
    /// Its whole balance was debited online, which MAC3 proved.
    Unloaded {
        /// The terminal number of the debit.
        terminal: TerminalNumber,
    },
}

/// What a closed card proved, and its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parking {
    /// The balance.
    pub balance: Fen,
    /// The online counter.
    pub online: u16,
    /// The offline counter; none when only a debit could be proved.
    pub offline: Option<u16>,
    /// The proof.
    pub proof: ParkingProof,
    /// The card's data, sealed by the centre, in hexadecimal.
    pub sealed_image: Option<String>,
    /// When.
    pub at: jiff::Timestamp,
}

/// The SE that a parked card goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The SE.
    pub se: SeId,
    /// The claim's number.
    pub operation: OperationId,
}

/// A part of a refund that was paid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundPart {
    /// Its own number.
    pub refund: OperationId,
    /// How much.
    pub amount: Fen,
}

/// How far a closing has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClosingStage {
    /// Whether the card is blocked is not proven.
    Begun,
    /// The card is in use.
    Undone,
    /// Value and data are at the centre.
    Parked(Parking),
    /// One SE has claimed it.
    Claimed(Parking, Claim),
    /// It is in use on the SE that claimed it.
    Arrived(Parking, Claim),
    /// Its balance is owed to the rider, less the parts that were paid out.
    Refunding {
        /// What the card proved.
        parking: Parking,
        /// The refund's number.
        refund: OperationId,
        /// What was paid out.
        parts: Vec<RefundPart>,
    },
}

/// One closing of a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// The card.
    pub card: CardNumber,
    /// The closing's number.
    pub operation: OperationId,
    /// The SE that carried it.
    pub se: SeId,
    /// Why.
    pub purpose: ClosingPurpose,
    /// When it was begun.
    pub begun_at: jiff::Timestamp,
    /// How far it has come.
    pub stage: ClosingStage,
    /// Claims that were given up, the newest last. One of them that comes late claims nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<OperationId>,
}

/// Given-up claims that are remembered. Messages live for minutes, so an older one does not come any more.
const REMEMBERED: usize = 64;

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosingMove {
    /// The closing from now on.
    pub closing: Closing,
    /// What happens to the card's account, in order.
    pub events: Vec<CardAccountEvent>,
    /// What is booked; none when it is nothing.
    pub money: Option<(TransferCode, Fen)>,
}

/// Why a step is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClosingRefusal {
    /// The stage does not allow it.
    #[error("a card that is {stage} cannot be {step}")]
    Stage {
        /// The stage in words.
        stage: &'static str,
        /// The step in words.
        step: &'static str,
    },
    /// It was said with other values before.
    #[error("this was reported before with other values")]
    Differs,
    /// The claim was given up before it came.
    #[error("this claim was given up")]
    GivenUp,
    /// Another SE has claimed the card.
    #[error("another secure element has claimed the card")]
    ClaimedByAnother,
    /// A card whose data were not read cannot move.
    #[error("the card's data were not read, so it can only be refunded")]
    NoImage,
    /// More is paid out than is owed.
    #[error("{asked} yuan are more than the {owed} that are owed")]
    MoreThanOwed {
        /// What was paid.
        asked: Fen,
        /// What is owed.
        owed: Fen,
    },
}

/// A step's result: `None` when it was done before.
pub type Step = Result<Option<ClosingMove>, ClosingRefusal>;

impl ClosingStage {
    /// The stage in words.
    pub const fn words(&self) -> &'static str {
        match self {
            Self::Begun => "being closed",
            Self::Undone => "back in use",
            Self::Parked(_) => "parked",
            Self::Claimed(..) => "claimed",
            Self::Arrived(..) => "in use elsewhere",
            Self::Refunding { .. } => "being refunded",
        }
    }

    /// What the card proved, once it has.
    pub const fn parking(&self) -> Option<&Parking> {
        match self {
            Self::Begun | Self::Undone => None,
            Self::Parked(parking)
            | Self::Claimed(parking, _)
            | Self::Arrived(parking, _)
            | Self::Refunding { parking, .. } => Some(parking),
        }
    }

    /// What was paid out.
    pub fn paid_out(&self) -> Fen {
        match self {
            Self::Refunding { parts, .. } => parts.iter().map(|part| part.amount).sum(),
            Self::Begun | Self::Undone | Self::Parked(_) | Self::Claimed(..) | Self::Arrived(..) => Fen::ZERO,
        }
    }
}

impl Parking {
    /// Whether it is the same word of the card; the time is the first one's, and each sealing differs.
    fn says_the_same(&self, other: &Self) -> bool {
        self.balance == other.balance
            && self.online == other.online
            && self.offline == other.offline
            && self.proof == other.proof
            && self.sealed_image.is_some() == other.sealed_image.is_some()
    }
}

impl ClosingMove {
    /// The same, with a claim that is given up.
    fn remembering(mut self, claim: OperationId) -> Self {
        let given_up = &mut self.closing.given_up;
        given_up.push(claim);
        let oldest = given_up.len().saturating_sub(REMEMBERED);
        given_up.drain(..oldest);
        self
    }
}

impl Closing {
    /// A closing that begins.
    pub const fn begin(
        card: CardNumber,
        operation: OperationId,
        se: SeId,
        purpose: ClosingPurpose,
        at: jiff::Timestamp,
    ) -> Self {
        Self { card, operation, se, purpose, begun_at: at, stage: ClosingStage::Begun, given_up: Vec::new() }
    }

    /// The first step of all.
    pub fn begun(self) -> ClosingMove {
        let events = vec![CardAccountEvent::ClosingBegun(self.purpose)];
        ClosingMove { closing: self, events, money: None }
    }

    /// The card is in use as before.
    pub fn undo(&self) -> Step {
        match self.stage {
            ClosingStage::Begun => {
                Ok(Some(self.to(ClosingStage::Undone, vec![CardAccountEvent::ClosingUndone], None)))
            }
            ClosingStage::Undone => Ok(None),
            _ => Err(self.refuse("put back to use")),
        }
    }

    /// The card was blocked and read.
    pub fn park(&self, parking: Parking) -> Step {
        match &self.stage {
            ClosingStage::Begun => {
                let balance = parking.balance;
                let events = vec![CardAccountEvent::Parked(balance)];
                let money = Some((TransferCode::Parked, balance));
                Ok(Some(self.to(ClosingStage::Parked(parking), events, money)))
            }
            ClosingStage::Undone => Err(self.refuse("parked")),
            stage => match stage.parking() {
                Some(known) if known.says_the_same(&parking) => Ok(None),
                _ => Err(ClosingRefusal::Differs),
            },
        }
    }

    /// An SE takes the card over. Exactly one does.
    pub fn claim(&self, claim: Claim) -> Step {
        match &self.stage {
            ClosingStage::Parked(parking) if parking.sealed_image.is_none() => Err(ClosingRefusal::NoImage),
            ClosingStage::Parked(_) | ClosingStage::Claimed(..)
                if self.given_up.contains(&claim.operation) =>
            {
                Err(ClosingRefusal::GivenUp)
            }
            ClosingStage::Parked(parking) => Ok(Some(self.to(
                ClosingStage::Claimed(parking.clone(), claim),
                vec![CardAccountEvent::MigrationIn(claim.se)],
                None,
            ))),
            ClosingStage::Claimed(_, known) | ClosingStage::Arrived(_, known) if *known == claim => Ok(None),
            // Its wallet lost the claim's number: the claim of the same SE is given again.
            ClosingStage::Claimed(parking, known) if known.se == claim.se => {
                Ok(Some(self.to(ClosingStage::Claimed(parking.clone(), claim), Vec::new(), None)))
            }
            ClosingStage::Claimed(..) | ClosingStage::Arrived(..) => Err(ClosingRefusal::ClaimedByAnother),
            _ => Err(self.refuse("claimed")),
        }
    }

    /// The claim is given up: the card was never written to the SE. It is remembered, because the claim itself may
    /// come after its release; a claim that another one has replaced releases nothing.
    pub fn release(&self, claim: Claim) -> Step {
        let made = match &self.stage {
            ClosingStage::Claimed(parking, known) if *known == claim => self.to(
                ClosingStage::Parked(parking.clone()),
                vec![CardAccountEvent::ClaimReleased(claim.se)],
                None,
            ),
            ClosingStage::Claimed(_, known) if known.operation == claim.operation => {
                return Err(ClosingRefusal::ClaimedByAnother);
            }
            ClosingStage::Claimed(..) | ClosingStage::Parked(_) | ClosingStage::Refunding { .. } => {
                if self.given_up.contains(&claim.operation) {
                    return Ok(None);
                }
                self.to(self.stage.clone(), Vec::new(), None)
            }
            _ => return Err(self.refuse("released")),
        };
        Ok(Some(made.remembering(claim.operation)))
    }

    /// The card is in use on the SE that claimed it.
    pub fn arrive(&self, se: SeId) -> Step {
        match &self.stage {
            ClosingStage::Claimed(parking, claim) if claim.se == se => {
                let money = Some((TransferCode::Unparked, parking.balance));
                let events = vec![CardAccountEvent::Opened(se)];
                Ok(Some(self.to(ClosingStage::Arrived(parking.clone(), *claim), events, money)))
            }
            ClosingStage::Arrived(_, claim) if claim.se == se => Ok(None),
            ClosingStage::Claimed(..) | ClosingStage::Arrived(..) => Err(ClosingRefusal::ClaimedByAnother),
            _ => Err(self.refuse("brought to use")),
        }
    }

    /// The balance is owed to the rider.
    pub fn order_refund(&self, refund: OperationId) -> Step {
        match &self.stage {
            ClosingStage::Parked(parking) => {
                let balance = parking.balance;
                let mut events = vec![CardAccountEvent::RefundOrdered];
                if balance.is_zero() {
                    events.push(CardAccountEvent::RefundPaid);
                }
                let stage = ClosingStage::Refunding { parking: parking.clone(), refund, parts: Vec::new() };
                Ok(Some(self.to(stage, events, Some((TransferCode::RefundOrdered, balance)))))
            }
            ClosingStage::Refunding { refund: known, .. } if *known == refund => Ok(None),
            ClosingStage::Refunding { .. } => Err(ClosingRefusal::Differs),
            _ => Err(self.refuse("refunded")),
        }
    }

    /// A part of the refund was paid out.
    pub fn pay(&self, part: RefundPart) -> Step {
        let ClosingStage::Refunding { parking, refund, parts } = &self.stage else {
            return Err(self.refuse("paid out"));
        };
        if let Some(known) = parts.iter().find(|known| known.refund == part.refund) {
            return if known.amount == part.amount { Ok(None) } else { Err(ClosingRefusal::Differs) };
        }
        let owed = parking.balance.checked_sub(self.stage.paid_out()).unwrap_or(Fen::ZERO);
        if part.amount > owed || part.amount.is_zero() {
            return Err(ClosingRefusal::MoreThanOwed { asked: part.amount, owed });
        }
        let mut parts = parts.clone();
        parts.push(part);
        let events = if part.amount == owed { vec![CardAccountEvent::RefundPaid] } else { Vec::new() };
        let stage = ClosingStage::Refunding { parking: parking.clone(), refund: *refund, parts };
        Ok(Some(self.to(stage, events, Some((TransferCode::RefundPaid, part.amount)))))
    }

    fn to(
        &self,
        stage: ClosingStage,
        events: Vec<CardAccountEvent>,
        money: Option<(TransferCode, Fen)>,
    ) -> ClosingMove {
        let closing = Self { stage, ..self.clone() };
        ClosingMove { closing, events, money: money.filter(|(_, amount)| !amount.is_zero()) }
    }

    const fn refuse(&self, step: &'static str) -> ClosingRefusal {
        ClosingRefusal::Stage { stage: self.stage.words(), step }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::card_account::{CardAccount, CardAccountState};

    fn operation(n: u128) -> OperationId {
        OperationId::from_uuid(uuid::Uuid::from_u128(n))
    }

    fn se(n: u8) -> SeId {
        SeId::new(&[n; 8]).unwrap()
    }

    fn claim(n: u8) -> Claim {
        Claim { se: se(n), operation: operation(u128::from(n)) }
    }

    fn parking(fen: u64) -> Parking {
        Parking {
            balance: Fen::new(fen),
            online: 4,
            offline: Some(9),
            proof: ParkingProof::Read,
            sealed_image: Some("00".into()),
            at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn begun() -> Closing {
        let card = "3104990000000000017".parse().unwrap();
        let at = jiff::Timestamp::UNIX_EPOCH;
        Closing::begin(card, operation(1), se(1), ClosingPurpose::Migration, at)
    }

    fn parked(fen: u64) -> Closing {
        begun().park(parking(fen)).unwrap().unwrap().closing
    }

    /// The account of a live card after every event of the moves.
    fn account(moves: &[ClosingMove]) -> CardAccountState {
        let live = CardAccount::opening(se(1)).apply(CardAccountEvent::Opened(se(1))).unwrap();
        let events = moves.iter().flat_map(|step| step.events.iter());
        events.fold(live, |account, event| account.apply(*event).unwrap()).state
    }

    /// req: B-7.5.1.b
    #[test]
    fn a_refund_is_the_balance_and_is_paid_once() {
        let first = begun().begun();
        let parked = first.closing.park(parking(30)).unwrap().unwrap();
        let ordered = parked.closing.order_refund(operation(2)).unwrap().unwrap();
        assert_eq!(ordered.money, Some((TransferCode::RefundOrdered, Fen::new(30))));
        let part = |n, fen| RefundPart { refund: operation(n), amount: Fen::new(fen) };
        let some = ordered.closing.pay(part(7, 20)).unwrap().unwrap();
        assert_eq!(some.closing.pay(part(7, 20)), Ok(None), "a part that is told again is not paid again");
        assert_eq!(some.closing.pay(part(7, 10)), Err(ClosingRefusal::Differs));
        let too_much = ClosingRefusal::MoreThanOwed { asked: Fen::new(11), owed: Fen::new(10) };
        assert_eq!(some.closing.pay(part(8, 11)), Err(too_much));
        let all = some.closing.pay(part(8, 10)).unwrap().unwrap();
        assert_eq!(account(&[first, parked, ordered, some, all.clone()]), CardAccountState::Refunded);
        assert!(all.closing.pay(part(9, 1)).is_err());
    }

    #[test]
    fn an_empty_card_is_refunded_at_once_and_books_nothing() {
        let first = begun().begun();
        let parked = first.closing.park(parking(0)).unwrap().unwrap();
        let ordered = parked.closing.order_refund(operation(2)).unwrap().unwrap();
        assert_eq!((parked.money, ordered.money), (None, None));
        assert_eq!(account(&[first, parked, ordered]), CardAccountState::Refunded);
    }

    /// req: P-5.5.4.c
    #[test]
    fn one_secure_element_claims_a_parked_card() {
        let claimed = parked(30).claim(claim(2)).unwrap().unwrap();
        assert_eq!(claimed.closing.claim(claim(2)), Ok(None));
        assert_eq!(claimed.closing.claim(claim(3)), Err(ClosingRefusal::ClaimedByAnother));
        assert!(claimed.closing.order_refund(operation(9)).is_err(), "a claimed card is not refunded");
        let other = claimed.closing.release(claim(3)).unwrap().unwrap();
        assert_eq!((other.closing.stage, other.events), (claimed.closing.stage.clone(), vec![]));
        let foreign = Claim { operation: claim(2).operation, ..claim(3) };
        assert_eq!(claimed.closing.release(foreign), Err(ClosingRefusal::ClaimedByAnother));
        let back = claimed.closing.release(claim(2)).unwrap().unwrap();
        assert_eq!(back.closing.release(claim(2)), Ok(None));
        let again = back.closing.claim(claim(3)).unwrap().unwrap();
        let arrived = again.closing.arrive(se(3)).unwrap().unwrap();
        assert_eq!(arrived.money, Some((TransferCode::Unparked, Fen::new(30))));
        assert!(arrived.closing.release(claim(3)).is_err(), "a card in use is not given back");
        assert_eq!(arrived.closing.claim(claim(2)), Err(ClosingRefusal::ClaimedByAnother));
        let first = begun().begun();
        let parked = first.closing.park(parking(30)).unwrap().unwrap();
        let steps = [first, parked, claimed, back, again, arrived];
        assert_eq!(account(&steps), CardAccountState::Live { se: se(3) });
    }

    /// The claim was on its way when it was given up; so was the release of one that another has replaced.
    #[test]
    fn a_claim_that_comes_after_its_release_claims_nothing() {
        let released = parked(30).release(claim(2)).unwrap().unwrap();
        assert!(released.events.is_empty() && released.money.is_none());
        assert_eq!(released.closing.claim(claim(2)), Err(ClosingRefusal::GivenUp));
        let ordered = released.closing.order_refund(operation(9)).unwrap().unwrap();
        assert!(ordered.money.is_some(), "it can be refunded");
        let again = Claim { operation: operation(7), ..claim(2) };
        let claimed = released.closing.claim(again).unwrap().unwrap().closing;
        assert_eq!(claimed.release(claim(2)), Ok(None));
        assert_eq!(
            claimed.claim(claim(2)),
            Err(ClosingRefusal::GivenUp),
            "nor does it take the place of a new one"
        );
        let mut many = parked(30);
        for n in 100..300 {
            let late = Claim { operation: operation(n), ..claim(2) };
            many = many.release(late).unwrap().unwrap().closing;
        }
        assert_eq!(many.given_up.len(), REMEMBERED);
        assert_eq!(many.given_up.last(), Some(&operation(299)));
    }

    #[test]
    fn late_and_contradicting_reports() {
        let undone = begun().undo().unwrap().unwrap().closing;
        assert_eq!(undone.undo(), Ok(None));
        assert!(undone.park(parking(30)).is_err(), "an undone closing parks nothing");
        assert!(parked(30).undo().is_err(), "a parked card is not put back to use");
        assert_eq!(parked(30).park(parking(30)), Ok(None));
        assert_eq!(parked(30).park(parking(31)), Err(ClosingRefusal::Differs));
        let claimed = parked(30).claim(claim(2)).unwrap().unwrap().closing;
        assert_eq!(claimed.park(parking(30)), Ok(None), "a report that comes late changes nothing");
    }

    #[test]
    fn a_card_that_was_only_debited_cannot_move() {
        let debit = Parking { sealed_image: None, offline: None, ..parking(30) };
        let closed = begun().park(debit).unwrap().unwrap().closing;
        assert_eq!(closed.claim(claim(2)), Err(ClosingRefusal::NoImage));
        assert!(closed.order_refund(operation(2)).unwrap().is_some());
    }
}
