//! What a card issuer's own people decide at their desk: cash that a hall pays out, cards that are lost, and
//! cards that a hall allows to be unlocked (D-5). Each is a case with a number, a reason and the names of those
//! who decided.

use serde::{Deserialize, Serialize};

use crate::amount::Fen;
use crate::id::{CardNumber, OperationId, OperatorId};

/// What a case is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeskMatter {
    /// A hall pays out what no payment takes back of a returned card. Two people decide.
    Payout {
        /// The refund.
        refund: OperationId,
        /// How much.
        amount: Fen,
    },
    /// The card is lost, until somebody in a hall has seen it again.
    Lost,
    /// The card may be unlocked once, until then.
    Unlock {
        /// Until when.
        until: jiff::Timestamp,
    },
    /// A parked card whose data were sent to a phone that is gone is returned instead. Two people decide.
    ClaimReturned {
        /// The claim.
        claim: OperationId,
    },
}

/// Who decided, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Who.
    pub by: OperatorId,
    /// When.
    pub at: jiff::Timestamp,
}

/// Where a case stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeskStage {
    /// It waits for its second person; a card is lost; an unlock was not used.
    Open,
    /// Paid out; found; unlocked.
    Done(Decided),
    /// Nothing came of it.
    Refused(Decided),
}

/// A case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeskCase {
    /// Its number.
    pub id: OperationId,
    /// The card.
    pub card: CardNumber,
    /// What it is about.
    pub matter: DeskMatter,
    /// Who opened it.
    pub opened: Decided,
    /// Why.
    pub reason: String,
    /// The requests that reported the same; one of them that comes again, however late, reports nothing new.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<uuid::Uuid>,
    /// Where it stands.
    pub stage: DeskStage,
}

/// Why a case cannot be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeskRefusal {
    /// It was decided before.
    #[error("the case was decided before")]
    Decided,
    /// The same person.
    #[error("the person who proposed it does not approve it")]
    FourEyes,
    /// Too late.
    #[error("the permission has ended")]
    Ended,
}

impl DeskCase {
    /// Whether it waits.
    pub const fn is_open(&self) -> bool {
        matches!(self.stage, DeskStage::Open)
    }

    /// Whether the card is lost by it.
    pub const fn is_lost(&self) -> bool {
        self.is_open() && matches!(self.matter, DeskMatter::Lost)
    }

    /// How often a card with these cases was lost or found: it rises with each.
    pub fn loss_changes(cases: &[Self]) -> u64 {
        let of_loss = cases.iter().filter(|case| matches!(case.matter, DeskMatter::Lost));
        of_loss.map(|case| if case.is_open() { 1 } else { 2 }).sum()
    }

    /// Whether it allows the card to be unlocked at `now`.
    pub fn allows_unlock(&self, now: jiff::Timestamp) -> bool {
        self.is_open() && matches!(self.matter, DeskMatter::Unlock { until } if now < until)
    }

    /// The case carried out.
    pub fn done(&self, decided: Decided) -> Result<Self, DeskRefusal> {
        match (&self.stage, self.matter) {
            (DeskStage::Done(_) | DeskStage::Refused(_), _) => Err(DeskRefusal::Decided),
            (DeskStage::Open, DeskMatter::Payout { .. } | DeskMatter::ClaimReturned { .. })
                if decided.by == self.opened.by =>
            {
                Err(DeskRefusal::FourEyes)
            }
            (DeskStage::Open, DeskMatter::Unlock { until }) if decided.at >= until => Err(DeskRefusal::Ended),
            (DeskStage::Open, _) => Ok(Self { stage: DeskStage::Done(decided), ..self.clone() }),
        }
    }

    /// The case closed without effect.
    pub fn refused(&self, decided: Decided) -> Result<Self, DeskRefusal> {
        match self.stage {
            DeskStage::Done(_) | DeskStage::Refused(_) => Err(DeskRefusal::Decided),
            DeskStage::Open => Ok(Self { stage: DeskStage::Refused(decided), ..self.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(name: &str, second: i64) -> Decided {
        Decided { by: name.parse().unwrap(), at: jiff::Timestamp::from_second(second).unwrap() }
    }

    fn case(matter: DeskMatter) -> DeskCase {
        DeskCase {
            id: OperationId::from_uuid(uuid::Uuid::nil()),
            card: "3104990000000000017".parse().unwrap(),
            matter,
            opened: by("one", 0),
            reason: "why".into(),
            requests: Vec::new(),
            stage: DeskStage::Open,
        }
    }

    #[test]
    fn a_payout_takes_two_people_and_is_decided_once() {
        let refund = OperationId::from_uuid(uuid::Uuid::nil());
        let payout = case(DeskMatter::Payout { refund, amount: Fen::new(5) });
        assert_eq!(payout.done(by("one", 1)), Err(DeskRefusal::FourEyes));
        let paid = payout.done(by("two", 1)).unwrap();
        assert_eq!(paid.stage, DeskStage::Done(by("two", 1)));
        assert_eq!(paid.done(by("three", 2)), Err(DeskRefusal::Decided));
        assert_eq!(paid.refused(by("three", 2)), Err(DeskRefusal::Decided));
        let refused = payout.refused(by("one", 1)).unwrap();
        assert_eq!(refused.done(by("two", 2)), Err(DeskRefusal::Decided));
        let claim = case(DeskMatter::ClaimReturned { claim: refund });
        assert_eq!(claim.done(by("one", 1)), Err(DeskRefusal::FourEyes));
        assert!(claim.done(by("two", 1)).is_ok());
    }

    #[test]
    fn one_person_finds_a_card_and_an_unlock_ends() {
        assert!(case(DeskMatter::Lost).done(by("one", 1)).is_ok());
        let until = jiff::Timestamp::from_second(10).unwrap();
        let unlock = case(DeskMatter::Unlock { until });
        assert!(unlock.allows_unlock(jiff::Timestamp::from_second(9).unwrap()));
        assert!(!unlock.allows_unlock(until));
        assert_eq!(unlock.done(by("one", 10)), Err(DeskRefusal::Ended));
        let used = unlock.done(by("one", 9)).unwrap();
        assert!(!used.allows_unlock(jiff::Timestamp::from_second(9).unwrap()), "once");
    }
}
