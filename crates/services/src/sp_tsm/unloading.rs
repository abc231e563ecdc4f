//! Closing a card that cannot prove its content (B-7.5.1): its domain's sessions have no R-MAC, so nothing that
//! is read of it is believed. Its whole balance is debited online instead, and MAC3 is the proof; the empty purse
//! is then deleted like any other. Such a card migrates at a staffed hall only: what no MAC proves, its records
//! and its offline counter, is read by the hall's own reader once the purse is empty, and parked with what MAC3
//! proved. Balance and online counter are never the reader's word.
//!
//! ```text
//! asked            INITIALIZE FOR LOAD: MAC1 proves balance and online counter
//!                  INITIALIZE FOR UNLOAD of all of it: MAC1 again
//! debit intended, durable, before MAC2 leaves
//!         -> DEBIT FOR UNLOAD
//!         <- MAC3: parked, durable, with the report to the centre
//! ```
//!
//! After a break only the card knows, and MAC1 of its next answer tells: the counter still stands, so it was not
//! debited and cannot be any more; or it is one further and the purse is empty.

use serde_json::json;
use tracing::warn;
use tsm_api::clearing::closing::UndoEvidence;
use tsm_api::conversation::{Outcome, Stage};
use tsm_api::problem::{Both, Problem, ProblemCode, both};
use tsm_card::purse::{UnloadOutcome, begin_unload, initialise, read_unproven, unload};
use tsm_domain::card::{CardRecord, ClosingProgress, Debit, ProvenPurse};
use tsm_domain::money::ClosingPurpose;
use tsm_domain::{Fen, OnlineCounter, TerminalNumber};
use tsm_epurse::{CardImage, KeyRole};
use tsm_keys::purse::UnloadAttempt;
use tsm_storage::shared::Fence;
use tsm_storage::sp_tsm::SpChange;

use super::attempts::suspicious;
use super::closing_card::{Place, closing_of};
use super::stop::Stop;
use super::words::Word;
use super::{SpTsm, reports};
use crate::conversation::Session;
use crate::purse::{card_time, to_purse, to_wire};

/// How often a purse is asked again that was used at a gate between two questions.
const TRIES: usize = 4;

/// What an interrupted debit came to.
pub(super) enum Settled {
    /// The purse was debited: the card is parked.
    Debited(CardRecord),
    /// It was not and cannot be any more; this is what it holds.
    NotDebited(CardRecord, ProvenPurse),
}

impl SpTsm {
    /// Whether a card's answers to its issuer carry a MAC.
    pub(super) fn proves_content(&self, card: &CardRecord) -> Result<bool, Stop> {
        let product = self.settings.product(&card.instance).ok_or(ProblemCode::UnknownId)?;
        Ok(product.access.as_ref().is_some_and(|access| access.level.has_r_mac()))
    }

    /// Closes a card whose closing was begun, by a debit of all that it holds.
    pub(super) async fn empty_card(
        &self,
        session: &mut Session,
        fence: Fence,
        card: CardRecord,
        place: Place,
    ) -> Result<CardRecord, Stop> {
        let mut card = card;
        for _ in 0..TRIES {
            session.progress.say(Stage::Observing, 30);
            let seen = match self.settle_debit(session, fence, card, place).await? {
                Settled::Debited(parked) => return Ok(parked),
                Settled::NotDebited(known, seen) => {
                    card = known;
                    seen
                }
            };
            if seen.balance.is_zero() {
                // Nothing is left to debit; MAC1 proved it.
                let terminal = self.store.next_terminal_number(card.card, self.settings.station).await?;
                let nothing = Debit { terminal, counter: seen.counter, balance: Fen::ZERO, at: self.now() };
                return self.park_emptied((session, place), fence, card, nothing, seen.counter).await;
            }
            let terminal = self.store.next_terminal_number(card.card, self.settings.station).await?;
            let Some(attempt) = self.propose_debit(session, &card, seen, terminal).await? else { continue };
            return self.carry_debit((session, place), fence, card, attempt, terminal).await;
        }
        Err(Problem::because(
            ProblemCode::CardUnproven,
            both("The card was used meanwhile; continue.", "其间卡片被使用过，请继续。"),
        )
        .into())
    }

    /// INITIALIZE FOR UNLOAD of the whole balance; none when the purse holds less by now.
    async fn propose_debit(
        &self,
        session: &mut Session,
        card: &CardRecord,
        seen: ProvenPurse,
        terminal: TerminalNumber,
    ) -> Result<Option<UnloadAttempt>, Stop> {
        let key = self.purse_of(card)?.keys.of_card(&*self.keys, KeyRole::Unload, card.card)?;
        let amount = to_purse(seen.balance).ok_or(ProblemCode::Internal)?;
        let terminal = terminal.to_bcd().into();
        let attempt =
            begin_unload(&mut session.card, &*self.keys, &key, card.instance, amount, terminal).await;
        match attempt {
            Ok(attempt)
                if attempt.answer.balance == amount && attempt.answer.counter.value() == seen.counter.0 =>
            {
                Ok(Some(attempt))
            }
            // It was used between the two questions, or somebody says so: it is asked again.
            Ok(_) | Err(tsm_card::ProcedureError::Status { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn carry_debit(
        &self,
        (session, place): (&mut Session, Place),
        fence: Fence,
        card: CardRecord,
        attempt: UnloadAttempt,
        terminal: TerminalNumber,
    ) -> Result<CardRecord, Stop> {
        let at = self.now();
        let debit = Debit {
            terminal,
            counter: OnlineCounter(attempt.answer.counter.value()),
            balance: Fen::new(attempt.answer.balance.fen().into()),
            at,
        };
        let card = self.intend_debit(fence, card, debit).await?;
        session.progress.say(Stage::Closing, 70);
        let key = self.purse_of(&card)?.keys.of_card(&*self.keys, KeyRole::Unload, card.card)?;
        match unload(&mut session.card, &*self.keys, &key, &attempt, card_time(at)).await? {
            UnloadOutcome::Debited => {
                let after = OnlineCounter(debit.counter.0.saturating_add(1));
                self.park_emptied((session, place), fence, card, debit, after).await
            }
            unproven @ (UnloadOutcome::Unproven | UnloadOutcome::SaidToBeRefused) => {
                if unproven == UnloadOutcome::Unproven {
                    self.tell_unproven_debit(&card, debit.balance).await?;
                }
                match self.settle_debit(session, fence, card, place).await? {
                    Settled::Debited(parked) => Ok(parked),
                    Settled::NotDebited(..) => {
                        let reason = both(
                            "The card was not emptied; continue or cancel.",
                            "卡片未清零，请继续或取消。",
                        );
                        Err(Problem::because(ProblemCode::CardUnproven, reason).into())
                    }
                }
            }
        }
    }

    /// Puts a card back to use whose debit was not carried out; one that was debited is parked.
    pub(super) async fn undo_debit(
        &self,
        session: &mut Session,
        fence: Fence,
        card: CardRecord,
    ) -> Result<CardRecord, Stop> {
        session.progress.say(Stage::Observing, 40);
        match self.settle_debit(session, fence, card, Place::Phone).await? {
            Settled::Debited(parked) => Ok(parked),
            Settled::NotDebited(card, seen) => {
                let (balance_fen, online_counter) = (to_wire(seen.balance), seen.counter.0);
                let evidence = UndoEvidence::NotBlocked { balance_fen, online_counter };
                self.put_back(fence, &card, evidence, Some(seen)).await
            }
        }
    }

    async fn intend_debit(&self, fence: Fence, card: CardRecord, debit: Debit) -> Result<CardRecord, Stop> {
        let card = card.with_progress(ClosingProgress::Debiting(debit));
        let detail = json!({ "balance_fen": debit.balance, "online": debit.counter });
        let note = self.note(card.card, "debit-intended", &detail);
        let change = SpChange { cards: vec![card.clone()], notes: vec![note], ..SpChange::default() };
        self.store.commit(fence, change).await?;
        Ok(card)
    }

    /// What the card says now, and what became of a debit whose end was lost.
    pub(super) async fn settle_debit(
        &self,
        session: &mut Session,
        fence: Fence,
        card: CardRecord,
        place: Place,
    ) -> Result<Settled, Stop> {
        let load = self.purse_of(&card)?.keys.of_card(&*self.keys, KeyRole::Load, card.card)?;
        let purpose = self.purpose(card.card, Fen::new(1)).await?;
        let seen = initialise(&mut session.card, &*self.keys, &load, card.instance, purpose).await?;
        let seen = ProvenPurse {
            balance: Fen::new(seen.answer.balance.fen().into()),
            counter: OnlineCounter(seen.answer.counter.value()),
            at: self.now(),
        };
        if let ClosingProgress::Debiting(debit) = closing_of(&card)?.progress {
            let after = OnlineCounter(debit.counter.0.saturating_add(1));
            if seen.counter == after && seen.balance.is_zero() {
                let parked = self.park_emptied((session, place), fence, card, debit, after).await;
                return parked.map(Settled::Debited);
            }
        }
        let proven = card.proven.unwrap_or(seen);
        if seen.counter != proven.counter || seen.balance > proven.balance {
            self.tell_credit_after_cancel(&card, seen.counter, seen.balance).await?;
            let reason = format!(
                "the purse holds {} yuan at online counter {}, and it held {} at {} before",
                seen.balance, seen.counter, proven.balance, proven.counter
            );
            warn!(card = %card.card, reason, "a card contradicts the records");
            self.freeze(&card, &reason).await?;
            return Err(suspicious(&reason));
        }
        let known = CardRecord { proven: Some(seen), ..card.with_progress(ClosingProgress::Asked) };
        if known != card {
            let change = SpChange { cards: vec![known.clone()], ..SpChange::default() };
            self.store.commit(fence, change).await?;
        }
        Ok(Settled::NotDebited(known, seen))
    }

    /// The purse is empty, and what was on it is at the centre. A card that migrates is read first; until that is
    /// done it stays what it is, and the next visit to a hall goes on.
    async fn park_emptied(
        &self,
        at: (&mut Session, Place),
        fence: Fence,
        card: CardRecord,
        debit: Debit,
        counter: OnlineCounter,
    ) -> Result<CardRecord, Stop> {
        let closing = closing_of(&card)?;
        let image = match closing.purpose {
            ClosingPurpose::Return => None,
            ClosingPurpose::Migration => Some(self.read_emptied(at, &card, debit, counter).await?),
        };
        let now = self.now();
        let proven = ProvenPurse { balance: debit.balance, counter, at: now };
        let parked = card.parked(proven, Word::Closed.number(fence));
        let closing = closing_of(&parked)?;
        let report = reports::park_emptied(&parked, closing, (debit, counter), image.as_ref(), now);
        let detail = json!({ "balance_fen": debit.balance, "online": counter });
        let note = self.note(card.card, "card-emptied", &detail);
        self.commit_parked(fence, parked, note, report).await
    }
}

impl SpTsm {
    /// All that an emptied purse holds, with the money that was debited. The hall's own reader says it; what MAC1
    /// and MAC3 proved must fit.
    async fn read_emptied(
        &self,
        (session, place): (&mut Session, Place),
        card: &CardRecord,
        debit: Debit,
        counter: OnlineCounter,
    ) -> Result<CardImage, Stop> {
        if place == Place::Phone {
            return Err(migrates_at_hall());
        }
        let product = self.settings.product(&card.instance).ok_or(ProblemCode::UnknownId)?;
        let access = product.access.as_ref().ok_or_else(migrates_at_hall)?;
        let request = access.session(product.domain, card.se);
        let image = read_unproven(&mut session.card, &*self.keys, &request, card.instance).await?;
        let unproven = |reason: Both| Stop::from(Problem::because(ProblemCode::CardUnproven, reason));
        if image.public_information.serial.0 != card.card.application_serial() {
            return Err(unproven(both("The secure element holds another card.", "安全单元上是另一张卡。")));
        }
        let state = *image.state();
        if state.purse().fen() != 0 || state.online().value() != counter.0 {
            return Err(unproven(both(
                "What was read is not what the card proved; continue.",
                "读出的内容与卡片证实的不符，请继续。",
            )));
        }
        let money = to_purse(debit.balance).ok_or(ProblemCode::Internal)?;
        image
            .with_money(money)
            .map_err(|_| unproven(both("The card's amounts contradict each other.", "卡片金额自相矛盾。")))
    }
}

/// A card that cannot prove its content to a server is moved where people look at it.
pub(super) fn migrates_at_hall() -> Stop {
    Problem::because(
        ProblemCode::HallOnly,
        both("This card cannot prove its content to a server.", "此卡无法向服务器证实其内容。"),
    )
    .into()
}

/// What is told when a debit was carried out that the rider wished to cancel.
pub(super) fn emptied_already() -> Outcome {
    let reason = both("The card was emptied already; its balance goes back.", "卡片已清零，余额将退回。");
    Outcome::refused(Problem::because(ProblemCode::StateForbids, reason))
}
