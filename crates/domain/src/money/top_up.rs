//! A top-up, from the confirmed payment to the report to the centre.
//!
//! The card decides what happened. An attempt is durable before MAC2 leaves, and names the online counter
//! N, the balance and a terminal number that no earlier attempt on this card had. When the outcome is not
//! known the next contact observes the card by INITIALIZE FOR LOAD, whose MAC1 proves balance and counter,
//! and [`resolve`] turns that into credited, not credited or suspicious. A timeout decides nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::amount::{Fen, OnlineCounter};
use crate::id::{CardNumber, OrderId, TerminalNumber};

/// A transaction authentication code of the purse: the proof that the card did it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tac(pub [u8; 4]);

impl fmt::Debug for Tac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tac({})", hex::encode_upper(self.0))
    }
}

/// What a load attempt started from, as MAC1 of INITIALIZE FOR LOAD proved it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The terminal number, used by this attempt only.
    pub terminal: TerminalNumber,
    /// The online counter N before the load.
    pub counter: OnlineCounter,
    /// The balance before the load.
    pub balance: Fen,
}

/// The card's state as INITIALIZE FOR LOAD gave it and its MAC1 proved it.
///
/// Only a verified MAC1 makes such a value ([`ProvenObservation::after_mac1`]); a balance that the phone
/// tells is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvenObservation {
    counter: OnlineCounter,
    balance: Fen,
}

impl ProvenObservation {
    /// An observation whose MAC1 the key service has just verified, over a terminal number that was never
    /// used before on this card.
    pub const fn after_mac1(counter: OnlineCounter, balance: Fen) -> Self {
        Self { counter, balance }
    }

    /// The online counter.
    pub const fn counter(&self) -> OnlineCounter {
        self.counter
    }

    /// The balance.
    pub const fn balance(&self) -> Fen {
        self.balance
    }
}

/// What else the card showed about the transaction N+1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evidence {
    /// The transaction proof or the record gave a TAC, and the key service verified it.
    VerifiedTac(Tac),
    /// The log has a record for N+1; its amount and terminal number are these, and it carries no TAC.
    Record {
        /// The recorded amount.
        amount: Fen,
        /// The recorded terminal number.
        terminal: TerminalNumber,
    },
    /// A TAC was given and is wrong for this attempt.
    WrongTac,
    /// Later transactions have overwritten the proof and the record.
    Overwritten,
}

/// The proof of a load that is kept with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoadProof {
    /// The TAC, verified.
    Tac(Tac),
    /// The card no longer had the TAC; its counter and balance, under MAC1, decided.
    TacUnavailable,
}

/// What an observation says about an attempt whose outcome was not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resolution {
    /// The counter is still N: nothing was credited. Try again or cancel.
    NotCredited,
    /// The counter is N+1 and everything fits: the money is in the purse.
    Credited(LoadProof),
    /// The card contradicts itself or us. It is frozen for value until a person has looked.
    Suspicious(Suspicion),
}

/// Why a card is suspicious.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Suspicion {
    /// The counter went back.
    #[error("the card's online counter is {observed}, below the {attempt} it had before the attempt")]
    CounterWentBack {
        /// The counter of the attempt.
        attempt: OnlineCounter,
        /// The counter now.
        observed: OnlineCounter,
    },
    /// The counter moved by more than one although online transactions are serialised.
    #[error("the card's online counter is {observed}, more than one past the {attempt} of the attempt")]
    CounterJumped {
        /// The counter of the attempt.
        attempt: OnlineCounter,
        /// The counter now.
        observed: OnlineCounter,
    },
    /// The purse holds more than it can.
    #[error("the purse holds {observed} yuan and can hold {most} at most")]
    BalanceTooHigh {
        /// The most that can be in the purse.
        most: Fen,
        /// What is in it.
        observed: Fen,
    },
    /// The record of N+1 is of another load.
    #[error("the card's record of the transaction names another amount or terminal")]
    AnotherLoad,
    /// The TAC is wrong.
    #[error("the card's proof of the transaction is wrong")]
    WrongTac,
}

/// Decides an attempt's outcome from the card's own proven state.
///
/// Offline purchases may have lowered the balance since, so a lower balance is no contradiction, and a
/// higher one always is.
pub fn resolve(attempt: &Attempt, amount: Fen, seen: &ProvenObservation, evidence: Evidence) -> Resolution {
    let (before, now) = (attempt.counter, seen.counter);
    if now < before {
        return Resolution::Suspicious(Suspicion::CounterWentBack { attempt: before, observed: now });
    }
    if now == before {
        return within(attempt.balance, seen).map_or(Resolution::NotCredited, Resolution::Suspicious);
    }
    if before.next() != Some(now) {
        return Resolution::Suspicious(Suspicion::CounterJumped { attempt: before, observed: now });
    }
    let most = Fen::new(attempt.balance.get().saturating_add(amount.get()));
    if let Some(suspicion) = within(most, seen) {
        return Resolution::Suspicious(suspicion);
    }
    match evidence {
        Evidence::VerifiedTac(tac) => Resolution::Credited(LoadProof::Tac(tac)),
        Evidence::WrongTac => Resolution::Suspicious(Suspicion::WrongTac),
        Evidence::Record { amount: recorded, terminal }
            if recorded != amount || terminal != attempt.terminal =>
        {
            Resolution::Suspicious(Suspicion::AnotherLoad)
        }
        Evidence::Record { .. } | Evidence::Overwritten => Resolution::Credited(LoadProof::TacUnavailable),
    }
}

/// Decides the outcome of an attempt whose card was frozen for it and released by two people. What they have looked
/// at freezes the card no more: its counter alone decides then. What they cannot have seen does.
pub fn resolve_released(
    attempt: &Attempt,
    amount: Fen,
    seen: &ProvenObservation,
    evidence: Evidence,
    released: Suspicion,
) -> Resolution {
    let found = resolve(attempt, amount, seen, evidence);
    let Resolution::Suspicious(suspicion) = found else { return found };
    if !released.covers(suspicion) {
        return found;
    }
    if seen.counter <= attempt.counter {
        // The card stands where it stood before the attempt, and its new random has voided that one's MAC2.
        return Resolution::NotCredited;
    }
    // Nothing but this load can have brought the counter from N to N+1.
    Resolution::Credited(match evidence {
        Evidence::VerifiedTac(tac) => LoadProof::Tac(tac),
        Evidence::Record { .. } | Evidence::WrongTac | Evidence::Overwritten => LoadProof::TacUnavailable,
    })
}

impl Suspicion {
    /// Whether whoever has looked at this has looked at that as well: the same counter, and no more money.
    fn covers(self, found: Self) -> bool {
        match (self, found) {
            (Self::CounterWentBack { observed: looked_at, .. }, Self::CounterWentBack { observed, .. })
            | (Self::CounterJumped { observed: looked_at, .. }, Self::CounterJumped { observed, .. }) => {
                looked_at == observed
            }
            (Self::BalanceTooHigh { observed: looked_at, .. }, Self::BalanceTooHigh { observed, .. }) => {
                observed <= looked_at
            }
            (Self::AnotherLoad, Self::AnotherLoad) | (Self::WrongTac, Self::WrongTac) => true,
            _ => false,
        }
    }
}

fn within(most: Fen, seen: &ProvenObservation) -> Option<Suspicion> {
    (seen.balance > most).then_some(Suspicion::BalanceTooHigh { most, observed: seen.balance })
}

/// How far a top-up has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TopUpStage {
    /// The payment platform confirmed the payment. No attempt is open.
    Paid,
    /// An attempt is open and its outcome is not known.
    Intended(Attempt),
    /// The money is in the purse. The centre does not know yet.
    Loaded(Attempt, LoadProof),
    /// The centre has the transaction.
    Told(Attempt, LoadProof),
    /// Cancelled: the card proved that nothing was credited, or no attempt was ever made. The payment goes back.
    Cancelled,
    /// The card is suspicious, and frozen until two people have looked at it. When they have released it, its next
    /// contact settles the attempt.
    Suspicious(Attempt, Suspicion),
}

/// One top-up order of one card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopUp {
    /// The order.
    pub order: OrderId,
    /// The card.
    pub card: CardNumber,
    /// The amount.
    pub amount: Fen,
    /// How far it has come.
    pub stage: TopUpStage,
}

/// Why a step of a top-up is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopUpRefusal {
    /// The step does not fit the stage.
    #[error("a top-up that is {stage} cannot {step}")]
    Stage {
        /// The stage in words.
        stage: &'static str,
        /// The step in words.
        step: &'static str,
    },
    /// The outcome of the open attempt must be found out first.
    #[error("the outcome of the last attempt is not known; the card must be read first")]
    OutcomeUnknown,
    /// The card's counter is at its limit.
    #[error("the card's online counter is at its limit and the card can be topped up no more")]
    CounterExhausted,
    /// The purse cannot hold so much.
    #[error("the purse cannot hold {0} yuan")]
    TooMuch(Fen),
    /// The attempt with this terminal number is not the open one.
    #[error("this answer belongs to another attempt")]
    AnotherAttempt,
}

impl TopUpStage {
    /// The attempt of which only the card knows what came.
    pub const fn attempt_in_doubt(&self) -> Option<Attempt> {
        match self {
            Self::Intended(attempt) | Self::Suspicious(attempt, _) => Some(*attempt),
            Self::Paid | Self::Loaded(..) | Self::Told(..) | Self::Cancelled => None,
        }
    }

    /// The stage in words.
    pub const fn words(&self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Intended(_) => "under way",
            Self::Loaded(..) => "loaded",
            Self::Told(..) => "loaded and reported",
            Self::Cancelled => "cancelled",
            Self::Suspicious(..) => "under examination",
        }
    }
}

impl TopUp {
    /// A top-up whose payment is confirmed.
    pub const fn paid(order: OrderId, card: CardNumber, amount: Fen) -> Self {
        Self { order, card, amount, stage: TopUpStage::Paid }
    }

    /// Opens an attempt. It must be durable before MAC2 is computed.
    ///
    /// An earlier attempt is settled first, by [`Self::resolve`]: INITIALIZE FOR LOAD has just voided its
    /// MAC2, but the card may have used it before.
    pub fn intend(self, attempt: Attempt, purse_maximum: Fen) -> Result<Self, TopUpRefusal> {
        match self.stage {
            TopUpStage::Paid => {}
            TopUpStage::Intended(_) => return Err(TopUpRefusal::OutcomeUnknown),
            _ => return Err(self.refuse("be attempted")),
        }
        attempt.counter.next().ok_or(TopUpRefusal::CounterExhausted)?;
        let after = attempt.balance.checked_add(self.amount).filter(|after| *after <= purse_maximum);
        after.ok_or(TopUpRefusal::TooMuch(Fen::new(
            attempt.balance.get().saturating_add(self.amount.get()),
        )))?;
        Ok(Self { stage: TopUpStage::Intended(attempt), ..self })
    }

    /// The card answered CREDIT FOR LOAD with a TAC that verifies.
    pub fn loaded(self, terminal: TerminalNumber, tac: Tac) -> Result<Self, TopUpRefusal> {
        match self.stage {
            TopUpStage::Intended(attempt) if attempt.terminal == terminal => {
                Ok(Self { stage: TopUpStage::Loaded(attempt, LoadProof::Tac(tac)), ..self })
            }
            TopUpStage::Loaded(attempt, _) | TopUpStage::Told(attempt, _) if attempt.terminal == terminal => {
                Ok(self)
            }
            TopUpStage::Intended(_) => Err(TopUpRefusal::AnotherAttempt),
            _ => Err(self.refuse("be credited")),
        }
    }

    /// Settles the open attempt from the card's proven state. One that made its card suspicious is settled when two
    /// people have released the card, and not before.
    pub fn resolve(
        self,
        seen: &ProvenObservation,
        evidence: Evidence,
    ) -> Result<(Self, Resolution), TopUpRefusal> {
        let (attempt, resolution) = match self.stage {
            TopUpStage::Intended(attempt) => (attempt, resolve(&attempt, self.amount, seen, evidence)),
            TopUpStage::Suspicious(attempt, released) => {
                (attempt, resolve_released(&attempt, self.amount, seen, evidence, released))
            }
            _ => return Err(self.refuse("be settled")),
        };
        let stage = match resolution {
            Resolution::NotCredited => TopUpStage::Paid,
            Resolution::Credited(proof) => TopUpStage::Loaded(attempt, proof),
            Resolution::Suspicious(suspicion) => TopUpStage::Suspicious(attempt, suspicion),
        };
        Ok((Self { stage, ..self }, resolution))
    }

    /// The centre has the transaction. Repeating it changes nothing.
    pub fn told(self) -> Result<Self, TopUpRefusal> {
        match self.stage {
            TopUpStage::Loaded(attempt, proof) => {
                Ok(Self { stage: TopUpStage::Told(attempt, proof), ..self })
            }
            TopUpStage::Told(..) => Ok(self),
            _ => Err(self.refuse("be reported")),
        }
    }

    /// Cancels, which gives the payment back. Never while an attempt's outcome is unknown.
    pub fn cancel(self) -> Result<Self, TopUpRefusal> {
        match self.stage {
            TopUpStage::Paid => Ok(Self { stage: TopUpStage::Cancelled, ..self }),
            TopUpStage::Cancelled => Ok(self),
            TopUpStage::Intended(_) => Err(TopUpRefusal::OutcomeUnknown),
            _ => Err(self.refuse("be cancelled")),
        }
    }

    const fn refuse(&self, step: &'static str) -> TopUpRefusal {
        TopUpRefusal::Stage { stage: self.stage.words(), step }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Fen = Fen::new(100_000);

    fn attempt(n: u16, balance: u64) -> Attempt {
        Attempt {
            terminal: TerminalNumber::for_attempt(3001, 7).unwrap(),
            counter: OnlineCounter(n),
            balance: Fen::new(balance),
        }
    }

    fn seen(n: u16, balance: u64) -> ProvenObservation {
        ProvenObservation::after_mac1(OnlineCounter(n), Fen::new(balance))
    }

    fn paid() -> TopUp {
        TopUp::paid(
            OrderId::from_uuid(uuid::Uuid::nil()),
            "3104990000000000017".parse().unwrap(),
            Fen::new(5_000),
        )
    }

    #[test]
    fn the_card_decides_what_happened() {
        let tac = Tac([1, 2, 3, 4]);
        let ours = Evidence::Record { amount: Fen::new(5_000), terminal: attempt(9, 100).terminal };
        let other = Evidence::Record { amount: Fen::new(4_999), terminal: attempt(9, 100).terminal };
        let gone = Evidence::Overwritten;
        let credited = Resolution::Credited;
        let suspicious = Resolution::Suspicious;
        let too_high =
            |most, observed| Suspicion::BalanceTooHigh { most: Fen::new(most), observed: Fen::new(observed) };
        let rows = [
            // Counter now, balance now, evidence, and what follows. The attempt had N = 9 and 1.00 yuan.
            (9, 100, gone, Resolution::NotCredited),
            (9, 0, gone, Resolution::NotCredited),
            (9, 101, gone, suspicious(too_high(100, 101))),
            (10, 5_100, Evidence::VerifiedTac(tac), credited(LoadProof::Tac(tac))),
            (10, 4_000, Evidence::VerifiedTac(tac), credited(LoadProof::Tac(tac))),
            (10, 5_100, ours, credited(LoadProof::TacUnavailable)),
            (10, 5_100, gone, credited(LoadProof::TacUnavailable)),
            (10, 5_101, Evidence::VerifiedTac(tac), suspicious(too_high(5_100, 5_101))),
            (10, 5_100, other, suspicious(Suspicion::AnotherLoad)),
            (10, 5_100, Evidence::WrongTac, suspicious(Suspicion::WrongTac)),
            (
                8,
                100,
                gone,
                suspicious(Suspicion::CounterWentBack {
                    attempt: OnlineCounter(9),
                    observed: OnlineCounter(8),
                }),
            ),
            (
                11,
                100,
                gone,
                suspicious(Suspicion::CounterJumped {
                    attempt: OnlineCounter(9),
                    observed: OnlineCounter(11),
                }),
            ),
        ];
        for (counter, balance, evidence, expected) in rows {
            let found = resolve(&attempt(9, 100), Fen::new(5_000), &seen(counter, balance), evidence);
            assert_eq!(found, expected, "counter {counter}, balance {balance}, {evidence:?}");
        }
    }

    /// No script before a confirmed payment; one payment, one credit.
    ///
    /// req: B-7.4.1.b
    #[test]
    fn one_payment_credits_once() {
        let open = paid().intend(attempt(9, 100), LIMIT).unwrap();
        assert_eq!(open.clone().intend(attempt(9, 100), LIMIT), Err(TopUpRefusal::OutcomeUnknown));
        assert_eq!(open.clone().cancel(), Err(TopUpRefusal::OutcomeUnknown), "a timeout refunds nothing");
        let terminal = attempt(9, 100).terminal;
        let loaded = open.clone().loaded(terminal, Tac([1; 4])).unwrap();
        assert_eq!(
            loaded.clone().loaded(terminal, Tac([1; 4])),
            Ok(loaded.clone()),
            "a repeated answer changes nothing"
        );
        assert!(loaded.clone().intend(attempt(10, 5_100), LIMIT).is_err());
        assert!(loaded.clone().cancel().is_err());
        let told = loaded.told().unwrap();
        assert_eq!(told.clone().told(), Ok(told));
        let later = TerminalNumber::for_attempt(3001, 8).unwrap();
        assert_eq!(open.loaded(later, Tac([1; 4])), Err(TopUpRefusal::AnotherAttempt));
    }

    #[test]
    fn a_cancel_needs_the_cards_proof() {
        let open = paid().intend(attempt(9, 100), LIMIT).unwrap();
        let (back, resolution) = open.resolve(&seen(9, 100), Evidence::Overwritten).unwrap();
        assert_eq!(resolution, Resolution::NotCredited);
        let cancelled = back.cancel().unwrap();
        assert_eq!(cancelled.stage, TopUpStage::Cancelled);
        assert!(cancelled.intend(attempt(9, 100), LIMIT).is_err(), "what was refunded is not credited");
    }

    #[test]
    fn limits_of_the_purse() {
        assert_eq!(paid().intend(attempt(9, 95_001), LIMIT), Err(TopUpRefusal::TooMuch(Fen::new(100_001))));
        assert!(paid().intend(attempt(9, 95_000), LIMIT).is_ok());
        assert_eq!(paid().intend(attempt(u16::MAX, 0), LIMIT), Err(TopUpRefusal::CounterExhausted));
    }

    /// Two people have released a card: what it showed then freezes it no more, its counter says what became of the
    /// payment, and anything worse is another matter.
    #[test]
    fn a_released_card_decides_by_its_counter() {
        let tac = Tac([1, 2, 3, 4]);
        let gone = Evidence::Overwritten;
        let open = paid().intend(attempt(9, 100), LIMIT).unwrap();
        // What froze it, what it shows then, and what follows; none when it is frozen again.
        let rows = [
            ((8, 100), (8, 100), gone, Some(Resolution::NotCredited)),
            ((8, 100), (8, 60), gone, Some(Resolution::NotCredited)),
            ((8, 100), (7, 100), gone, None),
            ((8, 100), (9, 100), gone, Some(Resolution::NotCredited)),
            ((8, 100), (11, 100), gone, None),
            ((9, 101), (9, 101), gone, Some(Resolution::NotCredited)),
            ((9, 101), (9, 102), gone, None),
            ((10, 5_101), (10, 5_101), gone, Some(Resolution::Credited(LoadProof::TacUnavailable))),
            (
                (10, 5_101),
                (10, 5_101),
                Evidence::VerifiedTac(tac),
                Some(Resolution::Credited(LoadProof::Tac(tac))),
            ),
            ((11, 100), (11, 100), gone, Some(Resolution::Credited(LoadProof::TacUnavailable))),
            ((11, 100), (12, 100), gone, None),
            ((11, 100), (8, 100), gone, None),
        ];
        for (before, after, evidence, expected) in rows {
            let (frozen, found) = open.clone().resolve(&seen(before.0, before.1), gone).unwrap();
            assert!(matches!(found, Resolution::Suspicious(_)), "{before:?}");
            assert!(frozen.clone().cancel().is_err(), "nothing goes back while nobody knows");
            let (settled, found) = frozen.resolve(&seen(after.0, after.1), evidence).unwrap();
            match expected {
                Some(expected) => assert_eq!(found, expected, "{before:?} {after:?}"),
                None => assert!(matches!(found, Resolution::Suspicious(_)), "{before:?} {after:?}"),
            }
            assert_eq!(
                settled.cancel().is_ok(),
                found == Resolution::NotCredited,
                "one of the two, never both"
            );
        }
    }

    proptest! {
        /// Whatever the card shows, money is never credited with the counter elsewhere than at N+1, and never
        /// found uncredited elsewhere than at N.
        #[test]
        fn only_n_and_n_plus_one_decide(n: u16, before in 0..100_000u64, now: u16, balance in 0..200_000u64) {
            let found = resolve(&attempt(n, before), Fen::new(5_000), &seen(now, balance), Evidence::Overwritten);
            match found {
                Resolution::NotCredited => prop_assert!(now == n && balance <= before),
                Resolution::Credited(_) => {
                    prop_assert!(n.checked_add(1) == Some(now) && balance <= before + 5_000);
                }
                Resolution::Suspicious(_) => {}
            }
        }
    }
}
