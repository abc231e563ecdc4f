//! Paying a merchant's order from a transit purse over the network (B-7.3.1), at the payment platform.
//!
//! ```text
//! begin        the card says balance, offline counter N and a random; nothing of it is proven
//! intend       an attempt with a terminal sequence that this card never had: durable before MAC1 exists
//! debit        MAC2 proves the debit; the order is paid by it, and the centre gets the TAC
//! next contact after any break: the card's transaction proof for N+1, or its counter
//! ```
//!
//! A card's offline counter numbers its purchases, at whatever terminal. So an attempt is *debited* when MAC2
//! or the proof of N+1 says so, and *not debited* when the card is still at N or somebody else's purchase is
//! proven to be its N+1. Anything else stays unknown: no timeout, close or other payment decides it. Where the
//! card has lost the proof, the centre does, by two people's word.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::payment_order::PaymentRefusal;
use super::top_up::Tac;
use crate::amount::{Fen, OfflineCounter};
use crate::id::{CardNumber, OrderId, TerminalNumber};

/// Attempts on one order; more are refused. MAC2 has four bytes and its session key two of the sequence, so
/// nobody gets many tries.
pub const MOST_ATTEMPTS: usize = 16;

/// What a wallet shows merchants, so that they can address an order to it: unguessable, and the right to see
/// what is addressed to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PayerToken([u8; 16]);

/// What is no payer's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a payer's token has 32 hexadecimal digits")]
pub struct NotAPayerToken;

impl PayerToken {
    /// A token from randomness.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for PayerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PayerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PayerToken(..)")
    }
}

impl FromStr for PayerToken {
    type Err = NotAPayerToken;

    fn from_str(text: &str) -> Result<Self, NotAPayerToken> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| NotAPayerToken)?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for PayerToken {
    type Error = NotAPayerToken;

    fn try_from(text: String) -> Result<Self, NotAPayerToken> {
        text.parse()
    }
}

impl From<PayerToken> for String {
    fn from(token: PayerToken) -> Self {
        token.to_string()
    }
}

/// What the card said when a purchase was begun, and at which terminal. Nothing of it is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurchaseBegun {
    /// The card.
    pub card: CardNumber,
    /// The terminal.
    pub terminal: TerminalNumber,
    /// The offline counter N.
    pub counter: OfflineCounter,
    /// The card's random.
    pub random: [u8; 4],
    /// What it says to hold.
    pub balance: Fen,
}

/// How far an attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PurseStage {
    /// MAC1 may be with the card; whether it was debited is not known.
    Intended,
    /// It is still not known, and the centre may have heard so.
    Unproven,
    /// The card was not debited by it, and cannot be any more.
    NotDebited,
    /// The card proved the debit. The centre does not know yet.
    Debited(Tac),
    /// The centre has taken the TAC.
    Told(Tac),
    /// The centre refused the TAC. The card is asked for it at its next contact, with whomever that is.
    Disputed(Tac),
    /// Two people at the centre decided that the debit is not booked.
    Dismissed(Tac),
    /// The centre has booked the debit, and its proof was never here: the card gave it to its issuer, or two
    /// people decided.
    Booked,
}

/// One attempt to debit a card for an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurseAttempt {
    /// Its number within the order, from 1.
    pub number: u32,
    /// What the card said.
    pub begun: PurchaseBegun,
    /// The terminal's sequence, which this card never had before.
    pub sequence: u32,
    /// The date and time that MAC1 was made for.
    pub at: Timestamp,
    /// How far it has come.
    pub stage: PurseStage,
}

impl PurseAttempt {
    /// The TAC, once the card has proved the debit here.
    pub const fn tac(&self) -> Option<Tac> {
        match self.stage {
            PurseStage::Debited(tac)
            | PurseStage::Told(tac)
            | PurseStage::Disputed(tac)
            | PurseStage::Dismissed(tac) => Some(tac),
            PurseStage::Intended | PurseStage::Unproven | PurseStage::NotDebited | PurseStage::Booked => None,
        }
    }

    fn known_tac(&self) -> Result<Tac, PaymentRefusal> {
        self.tac().ok_or(PaymentRefusal::NotPaid)
    }

    /// Whether the card was debited by it.
    pub const fn is_debited(&self) -> bool {
        self.tac().is_some() || matches!(self.stage, PurseStage::Booked)
    }

    /// Whether its outcome is unknown.
    pub const fn is_open(&self) -> bool {
        matches!(self.stage, PurseStage::Intended | PurseStage::Unproven)
    }
}

/// That an order may be paid from a purse, and the attempts to do so.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PurseOffer {
    attempts: Vec<PurseAttempt>,
}

/// What the platform keeps of a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurseCard {
    /// The card.
    pub card: CardNumber,
    /// The last terminal sequence that it was given.
    pub sequence: u32,
    /// The offline counter after the last debit that it proved here.
    pub proven: Option<OfflineCounter>,
    /// The order whose attempt on it is open.
    pub open: Option<OrderId>,
    /// The orders whose TAC the centre refused: the card is asked for it when it is here next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disputed: Vec<OrderId>,
}

/// What a proof changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Debit {
    /// It was not known before.
    New,
    /// It was recorded before.
    Known,
}

impl PurseOffer {
    /// The attempts, oldest first.
    pub fn attempts(&self) -> &[PurseAttempt] {
        &self.attempts
    }

    /// The attempt whose outcome is unknown.
    pub fn open(&self) -> Option<&PurseAttempt> {
        self.attempts.iter().find(|attempt| attempt.is_open())
    }

    /// The attempt that debited a card.
    pub fn debited(&self) -> Option<&PurseAttempt> {
        self.attempts.iter().find(|attempt| attempt.is_debited())
    }

    /// Opens an attempt for `order`. It must be durable before MAC1 is computed. The same beginning again
    /// gives the same attempt.
    pub fn intend(
        &mut self,
        order: OrderId,
        card: &mut PurseCard,
        begun: PurchaseBegun,
        at: Timestamp,
    ) -> Result<PurseAttempt, PaymentRefusal> {
        if let Some(open) = self.open() {
            return if open.begun == begun { Ok(*open) } else { Err(PaymentRefusal::AttemptOpen) };
        }
        if card.open.is_some() {
            return Err(PaymentRefusal::CardHasOpenAttempt);
        }
        card.check_not_before(begun.counter)?;
        if self.attempts.len() >= MOST_ATTEMPTS {
            return Err(PaymentRefusal::TooManyAttempts);
        }
        begun.counter.next().ok_or(PaymentRefusal::CounterExhausted)?;
        let sequence = card.sequence.checked_add(1).ok_or(PaymentRefusal::CounterExhausted)?;
        let number = u32::try_from(self.attempts.len() + 1).unwrap_or(u32::MAX);
        let attempt = PurseAttempt { number, begun, sequence, at, stage: PurseStage::Intended };
        self.attempts.push(attempt);
        card.sequence = sequence;
        card.open = Some(order);
        Ok(attempt)
    }

    /// The card proved the debit of an attempt. A proof counts even when the attempt was given up before, by
    /// somebody who was told that the card still stood at N.
    pub fn prove(
        &mut self,
        order: OrderId,
        card: &mut PurseCard,
        number: u32,
        tac: Tac,
    ) -> Result<Debit, PaymentRefusal> {
        let debit = self.debit(order, card, number, PurseStage::Debited(tac))?;
        if debit == Debit::New {
            let after = self.of_card(card, number)?.begun.counter.next();
            card.proven = card.proven.max(after);
        }
        Ok(debit)
    }

    /// The centre has booked the debit of an attempt whose proof was never here. What that rests on is the centre's
    /// to know, so the card is held to nothing by it.
    pub fn book(
        &mut self,
        order: OrderId,
        card: &mut PurseCard,
        number: u32,
    ) -> Result<Debit, PaymentRefusal> {
        self.debit(order, card, number, PurseStage::Booked)
    }

    fn debit(
        &mut self,
        order: OrderId,
        card: &mut PurseCard,
        number: u32,
        stage: PurseStage,
    ) -> Result<Debit, PaymentRefusal> {
        if self.debited().is_some_and(|debited| debited.number != number) {
            return Err(PaymentRefusal::AlreadyPaid);
        }
        let attempt = self.of_card(card, number)?;
        if attempt.is_debited() {
            return Ok(Debit::Known);
        }
        attempt.begun.counter.next().ok_or(PaymentRefusal::CounterExhausted)?;
        attempt.stage = stage;
        // What else was tried at this order is over: it is debited once.
        for other in self.attempts.iter_mut().filter(|other| other.number != number && other.is_open()) {
            other.stage = PurseStage::NotDebited;
        }
        card.release(order);
        Ok(Debit::New)
    }

    /// The attempt did not debit the card, and cannot any more. Saying so again changes nothing.
    pub fn give_up(
        &mut self,
        order: OrderId,
        card: &mut PurseCard,
        number: u32,
    ) -> Result<(), PaymentRefusal> {
        let attempt = self.of_card(card, number)?;
        match attempt.stage {
            PurseStage::Intended | PurseStage::Unproven => {
                attempt.stage = PurseStage::NotDebited;
                card.release(order);
                Ok(())
            }
            PurseStage::NotDebited => Ok(()),
            PurseStage::Debited(_)
            | PurseStage::Told(_)
            | PurseStage::Disputed(_)
            | PurseStage::Dismissed(_)
            | PurseStage::Booked => Err(PaymentRefusal::AlreadyPaid),
        }
    }

    /// The centre answered about a debit. A refusal is not the last word: the card is asked again. What was booked
    /// or dismissed stays so.
    pub fn told(
        &mut self,
        order: OrderId,
        card: &mut PurseCard,
        number: u32,
        word: CentreWord,
    ) -> Result<(), PaymentRefusal> {
        let attempt = self.of_card(card, number)?;
        match (attempt.stage, word) {
            (PurseStage::Intended, CentreWord::KeptAside) => attempt.stage = PurseStage::Unproven,
            (PurseStage::Told(_) | PurseStage::Booked, _)
            | (PurseStage::Dismissed(_), CentreWord::Refused)
            | (_, CentreWord::KeptAside) => {}
            (_, CentreWord::TakenWith(tac)) => attempt.stage = PurseStage::Told(tac),
            (_, CentreWord::Taken) => attempt.stage = PurseStage::Told(attempt.known_tac()?),
            (_, CentreWord::Refused) => attempt.stage = PurseStage::Disputed(attempt.known_tac()?),
            (_, CentreWord::Dismissed) => attempt.stage = PurseStage::Dismissed(attempt.known_tac()?),
        }
        let is_disputed = matches!(attempt.stage, PurseStage::Disputed(_));
        card.disputed.retain(|disputed| *disputed != order);
        if is_disputed {
            card.disputed.push(order);
        }
        Ok(())
    }

    fn of_card(&mut self, card: &PurseCard, number: u32) -> Result<&mut PurseAttempt, PaymentRefusal> {
        let attempt = self.attempts.iter_mut().find(|attempt| attempt.number == number);
        attempt.filter(|attempt| attempt.begun.card == card.card).ok_or(PaymentRefusal::AnotherAttempt)
    }
}

/// What the centre says about a debit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CentreWord {
    /// It has it.
    Taken,
    /// It has it, with the TAC that the card gave when it was asked again.
    TakenWith(Tac),
    /// It refuses it.
    Refused,
    /// Two people there decided that it is not booked.
    Dismissed,
    /// It has heard of it without a TAC, or will in a moment.
    KeptAside,
}

impl PurseCard {
    /// A card that was never here.
    pub const fn new(card: CardNumber) -> Self {
        Self { card, sequence: 0, proven: None, open: None, disputed: Vec::new() }
    }

    /// A card stands where its last proven debit left it, or further.
    pub fn check_not_before(&self, counter: OfflineCounter) -> Result<(), PaymentRefusal> {
        match self.proven.filter(|proven| counter < *proven) {
            Some(proven) => Err(PaymentRefusal::CounterWentBack { proven, said: counter }),
            None => Ok(()),
        }
    }

    /// Whether a purchase that began at `counter` is known not to have been made: another one is proven to be
    /// the card's next.
    pub fn has_gone_on_from(&self, counter: OfflineCounter) -> bool {
        self.proven.is_some_and(|proven| proven > counter)
    }

    fn release(&mut self, order: OrderId) {
        self.open = self.open.filter(|open| *open != order);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(own: u64) -> CardNumber {
        CardNumber::compose("31049990", own).unwrap()
    }

    fn begun(counter: u16, random: u8) -> PurchaseBegun {
        PurchaseBegun {
            card: number(1),
            terminal: "099900000011".parse().unwrap(),
            counter: OfflineCounter(counter),
            random: [random; 4],
            balance: Fen::new(5_000),
        }
    }

    fn order(n: u128) -> OrderId {
        OrderId::from_uuid(uuid::Uuid::from_u128(n))
    }

    const TAC: Tac = Tac([1, 2, 3, 4]);

    /// req: B-7.3.1.a
    #[test]
    fn an_order_debits_once_whatever_is_tried() {
        let (mut offer, mut card) = (PurseOffer::default(), PurseCard::new(number(1)));
        let at = Timestamp::UNIX_EPOCH;
        let first = offer.intend(order(1), &mut card, begun(7, 1), at).unwrap();
        assert_eq!((first.number, first.sequence, card.open), (1, 1, Some(order(1))));
        assert_eq!(offer.intend(order(1), &mut card, begun(7, 1), at), Ok(first), "the same beginning");
        let other = offer.intend(order(1), &mut card, begun(7, 2), at);
        assert_eq!(other, Err(PaymentRefusal::AttemptOpen), "unknown stays unknown");
        let another = PurseOffer::default().intend(order(2), &mut card, begun(7, 2), at);
        assert_eq!(another, Err(PaymentRefusal::CardHasOpenAttempt));
        offer.give_up(order(1), &mut card, 1).unwrap();
        offer.give_up(order(1), &mut card, 1).unwrap();
        let second = offer.intend(order(1), &mut card, begun(7, 2), at).unwrap();
        assert_eq!((second.number, second.sequence), (2, 2), "a sequence is used once");
        assert_eq!(offer.prove(order(1), &mut card, 2, TAC), Ok(Debit::New));
        assert_eq!(offer.prove(order(1), &mut card, 2, TAC), Ok(Debit::Known));
        assert_eq!(offer.prove(order(1), &mut card, 1, TAC), Err(PaymentRefusal::AlreadyPaid));
        assert_eq!(offer.give_up(order(1), &mut card, 2), Err(PaymentRefusal::AlreadyPaid));
        assert_eq!((card.open, card.proven), (None, Some(OfflineCounter(8))));
        let back = PurseOffer::default().intend(order(3), &mut card, begun(7, 3), at);
        assert!(matches!(back, Err(PaymentRefusal::CounterWentBack { .. })), "N is used");
        offer.told(order(1), &mut card, 2, CentreWord::Taken).unwrap();
        assert_eq!(offer.attempts()[1].stage, PurseStage::Told(TAC));
        assert_eq!(offer.told(order(1), &mut card, 1, CentreWord::Taken), Err(PaymentRefusal::NotPaid));
    }

    /// A refused TAC is disputed until the centre has the right one, or two people dismiss it; a late refusal
    /// takes nothing back.
    #[test]
    fn a_refused_tac_is_not_the_last_word() {
        let ends = [
            (CentreWord::TakenWith(Tac([9; 4])), PurseStage::Told(Tac([9; 4]))),
            (CentreWord::Taken, PurseStage::Told(TAC)),
            (CentreWord::Dismissed, PurseStage::Dismissed(TAC)),
        ];
        for (word, stage) in ends {
            let (mut offer, mut card) = (PurseOffer::default(), PurseCard::new(number(1)));
            offer.intend(order(1), &mut card, begun(7, 1), Timestamp::UNIX_EPOCH).unwrap();
            offer.prove(order(1), &mut card, 1, TAC).unwrap();
            for _ in 0..2 {
                offer.told(order(1), &mut card, 1, CentreWord::Refused).unwrap();
                assert_eq!(offer.attempts()[0].stage, PurseStage::Disputed(TAC));
                assert_eq!(card.disputed, [order(1)]);
            }
            for again in [word, CentreWord::Refused] {
                offer.told(order(1), &mut card, 1, again).unwrap();
                assert_eq!((offer.attempts()[0].stage, card.disputed.len()), (stage, 0));
            }
        }
    }

    /// What the centre has heard of stays unknown, and can still end either way.
    #[test]
    fn what_the_centre_has_heard_of_is_open() {
        for is_debited in [false, true] {
            let (mut offer, mut card) = (PurseOffer::default(), PurseCard::new(number(1)));
            offer.intend(order(1), &mut card, begun(7, 1), Timestamp::UNIX_EPOCH).unwrap();
            for _ in 0..2 {
                offer.told(order(1), &mut card, 1, CentreWord::KeptAside).unwrap();
                assert_eq!(offer.open().map(|attempt| attempt.stage), Some(PurseStage::Unproven));
            }
            let stage = if is_debited {
                assert_eq!(offer.prove(order(1), &mut card, 1, TAC), Ok(Debit::New));
                PurseStage::Debited(TAC)
            } else {
                offer.give_up(order(1), &mut card, 1).unwrap();
                PurseStage::NotDebited
            };
            offer.told(order(1), &mut card, 1, CentreWord::KeptAside).unwrap();
            assert_eq!((offer.attempts()[0].stage, card.open), (stage, None));
        }
    }

    /// What the centre books without a proof is paid, once, and binds the card to no counter.
    ///
    /// req: B-7.3.1.a
    #[test]
    fn what_the_centre_has_booked_is_paid() {
        let (mut offer, mut card) = (PurseOffer::default(), PurseCard::new(number(1)));
        offer.intend(order(1), &mut card, begun(7, 1), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(offer.book(order(1), &mut card, 1), Ok(Debit::New));
        assert_eq!(offer.book(order(1), &mut card, 1), Ok(Debit::Known));
        assert_eq!(offer.prove(order(1), &mut card, 1, TAC), Ok(Debit::Known), "the centre has it");
        assert_eq!((card.open, card.proven), (None, None));
        assert_eq!(offer.debited().map(|attempt| attempt.stage), Some(PurseStage::Booked));
        assert_eq!(offer.give_up(order(1), &mut card, 1), Err(PaymentRefusal::AlreadyPaid));
        offer.told(order(1), &mut card, 1, CentreWord::Refused).unwrap();
        assert_eq!((offer.attempts()[0].stage, card.disputed.len()), (PurseStage::Booked, 0));
    }

    /// Somebody said that the card stood at N, and then its proof came after all.
    #[test]
    fn a_proof_counts_even_for_an_attempt_that_was_given_up() {
        let (mut offer, mut card) = (PurseOffer::default(), PurseCard::new(number(1)));
        let at = Timestamp::UNIX_EPOCH;
        offer.intend(order(1), &mut card, begun(7, 1), at).unwrap();
        offer.give_up(order(1), &mut card, 1).unwrap();
        offer.intend(order(1), &mut card, begun(7, 2), at).unwrap();
        assert_eq!(offer.prove(order(1), &mut card, 1, TAC), Ok(Debit::New));
        assert_eq!(offer.open(), None, "the card cannot have been debited at N twice");
        assert_eq!(offer.prove(order(1), &mut card, 2, TAC), Err(PaymentRefusal::AlreadyPaid));
        let mut stranger = PurseCard::new(number(2));
        assert_eq!(offer.prove(order(1), &mut stranger, 1, TAC), Err(PaymentRefusal::AnotherAttempt));
    }

    #[test]
    fn nobody_tries_for_ever() {
        let (mut offer, mut card) = (PurseOffer::default(), PurseCard::new(number(1)));
        for n in 0..MOST_ATTEMPTS {
            let attempt =
                offer.intend(order(1), &mut card, begun(7, n as u8), Timestamp::UNIX_EPOCH).unwrap();
            offer.give_up(order(1), &mut card, attempt.number).unwrap();
        }
        let more = offer.intend(order(1), &mut card, begun(7, 99), Timestamp::UNIX_EPOCH);
        assert_eq!(more, Err(PaymentRefusal::TooManyAttempts));
    }

    #[test]
    fn a_token_is_read_as_it_is_written() {
        let token = PayerToken::new([0xAB; 16]);
        assert_eq!(token.to_string().parse(), Ok(token));
        assert_eq!(
            serde_json::from_str::<PayerToken>(&serde_json::to_string(&token).unwrap()).unwrap(),
            token
        );
        assert!(!format!("{token:?}").contains("ab"));
        assert_eq!("abc".parse::<PayerToken>(), Err(NotAPayerToken));
    }

    proptest! {
        /// Whatever is done in whatever order: one debit at most, one open attempt at most, sequences rise.
        #[test]
        fn at_most_one_debit(steps in prop::collection::vec((0..4u8, 0..4u32), 0..40)) {
            let (mut offer, mut card) = (PurseOffer::default(), PurseCard::new(number(1)));
            for (index, (step, which)) in steps.into_iter().enumerate() {
                let _ = match step {
                    0 => {
                        let begun = begun(7, index as u8);
                        offer.intend(order(1), &mut card, begun, Timestamp::UNIX_EPOCH).map(drop)
                    }
                    1 => offer.give_up(order(1), &mut card, which),
                    2 => offer.book(order(1), &mut card, which).map(drop),
                    _ => offer.prove(order(1), &mut card, which, TAC).map(drop),
                };
                prop_assert!(offer.attempts().iter().filter(|one| one.is_debited()).count() <= 1);
                prop_assert!(offer.attempts().iter().filter(|one| one.is_open()).count() <= 1);
                prop_assert!(offer.attempts().is_sorted_by_key(|one| one.sequence));
                prop_assert_eq!(card.open.is_some(), offer.open().is_some());
            }
        }
    }
}
