//! Load attempts on a card: a terminal number that was never used, what an unknown attempt came to, and
//! whether what the card proves fits what is known of it.
//!
//! ```text
//! counter N      not credited, and cannot be any more: the card's new random voids the old MAC2
//! counter N + 1  credited
//! anything else  suspicious: frozen for value until two people have looked; then the card is asked again, and what
//!                they have looked at decides by its counter
//! ```

use jiff::Timestamp;
use serde_json::json;
use tracing::warn;
use tsm_api::conversation::OutcomeDetail;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_card::purse::{LoadIntention, LoadObservation, LoadPurpose, initialise, observe_load};
use tsm_card::relay::RelayChannel;
use tsm_domain::card::CardRecord;
use tsm_domain::money::{
    Attempt, Evidence, LoadProof, ProvenObservation, Resolution, Tac, TopUp, TopUpStage,
};
use tsm_domain::{CardNumber, Fen, OnlineCounter, TerminalNumber};
use tsm_epurse::{Amount, KeyIndex, KeyRole};
use tsm_keys::KeyHandle;
use tsm_keys::purse::LoadAttempt;
use tsm_storage::shared::Fence;
use tsm_storage::sp_tsm::{TopUpOrder, With, WithOutcome};

use super::settings::PurseProduct;
use super::stop::Stop;
use super::{SpTsm, reports};
use crate::purse::{card_time, to_purse, to_wire};

/// The keys of one card that a load needs, inside the key service.
pub(super) struct LoadKeys {
    pub load: KeyHandle,
    pub tac: KeyHandle,
}

/// What a card proved at the beginning of a conversation, and what was settled by it.
pub(super) struct Contact {
    /// The fresh attempt, with which a load may go on.
    pub attempt: LoadAttempt,
    /// The top-up whose outcome was unknown until now.
    pub settled: Option<(TopUp, Resolution)>,
}

impl SpTsm {
    /// The product behind a card.
    pub(super) fn purse_of(&self, card: &CardRecord) -> Result<&PurseProduct, Stop> {
        let product = self.settings.product(&card.instance).and_then(|product| product.purse());
        product.ok_or_else(|| ProblemCode::UnknownId.into())
    }

    /// The card's keys for loads.
    pub(super) fn load_keys(&self, card: &CardRecord) -> Result<LoadKeys, Stop> {
        let keys = &self.purse_of(card)?.keys;
        Ok(LoadKeys {
            load: keys.of_card(&*self.keys, KeyRole::Load, card.card)?,
            tac: keys.of_card(&*self.keys, KeyRole::Tac, card.card)?,
        })
    }

    /// What INITIALIZE FOR LOAD announces: `amount`, and a terminal number never used on this card.
    pub(super) async fn purpose(&self, card: CardNumber, amount: Fen) -> Result<LoadPurpose, Stop> {
        let terminal = self.store.next_terminal_number(card, self.settings.station).await?;
        let amount: Amount = to_purse(amount).ok_or(ProblemCode::AmountRefused)?;
        Ok(LoadPurpose { key_index: KeyIndex::FIRST, amount, terminal: terminal.to_bcd().into() })
    }

    /// Lets the card prove itself. If an attempt's outcome is unknown it is settled first; `amount` is that
    /// of the load which may go on.
    pub(super) async fn contact(
        &self,
        channel: &mut RelayChannel,
        fence: Fence,
        card: &CardRecord,
        keys: &LoadKeys,
        amount: Fen,
    ) -> Result<Contact, Stop> {
        let unknown = self.store.open_top_ups(card.card).await?.into_iter().find_map(|order| {
            let attempt = order.attempt_in_doubt()?;
            Some((order, attempt))
        });
        let purpose = self.purpose(card.card, amount).await?;
        let Some((order, attempt)) = unknown else {
            let attempt = initialise(channel, &*self.keys, &keys.load, card.instance, purpose).await?;
            self.check_fits(card, &attempt).await?;
            return Ok(Contact { attempt, settled: None });
        };
        let intended_at = intended_at(card);
        let intention = LoadIntention {
            amount: to_purse(order.amount).ok_or(ProblemCode::Internal)?,
            terminal: attempt.terminal.to_bcd().into(),
            balance_before: to_purse(attempt.balance).ok_or(ProblemCode::Internal)?,
            counter_before: tsm_epurse::OnlineCounter::new(attempt.counter.0),
            at: card_time(intended_at),
        };
        let seen =
            observe_load(channel, &*self.keys, &keys.load, &keys.tac, card.instance, &intention, purpose)
                .await?;
        let settled = self.settle(fence, &order, &attempt, intended_at, &seen).await?;
        Ok(Contact { attempt: fresh(&seen), settled: Some(settled) })
    }

    /// Stores what the card's own word says about an attempt. A suspicious card is frozen by it.
    async fn settle(
        &self,
        fence: Fence,
        order: &TopUpOrder,
        attempt: &Attempt,
        intended_at: Timestamp,
        seen: &LoadObservation,
    ) -> Result<(TopUp, Resolution), Stop> {
        let tac = match seen {
            LoadObservation::Credited { tac, .. } => tac.map(|tac| Tac(tac.to_bytes())),
            LoadObservation::NotCredited { .. } | LoadObservation::Suspicious { .. } => None,
        };
        let evidence = tac.map_or(Evidence::Overwritten, Evidence::VerifiedTac);
        let purse = seen.purse();
        let proven = ProvenObservation::after_mac1(
            OnlineCounter(purse.counter.value()),
            Fen::new(purse.balance.fen().into()),
        );
        let now = self.now();
        let report = reports::credit(
            (order.order, order.card, order.amount),
            reports::means(order),
            attempt,
            intended_at,
            tac,
            now,
        );
        let note = self.note(
            order.card,
            "load-settled",
            &json!({ "order": order.order, "counter": purse.counter.value() }),
        );
        let foreseen = order.paid().and_then(|top_up| top_up.resolve(&proven, evidence).ok());
        let suspicious = match foreseen {
            Some((_, Resolution::Suspicious(suspicion))) => {
                self.freeze_told(order.card, fence.se, &suspicion.to_string())
            }
            Some((_, Resolution::Credited(_) | Resolution::NotCredited)) | None => With::default(),
        };
        let with = WithOutcome {
            always: With { notes: vec![note], ..With::default() },
            credited: With { deliveries: vec![report], ..With::default() },
            suspicious,
        };
        let settled = self.store.settle_attempt(fence, order.order, proven, evidence, now, with).await?;
        self.outbox.kick();
        if let (_, Resolution::Suspicious(suspicion)) = &settled {
            warn!(card = %order.card, reason = %suspicion, "a card contradicts the records");
        }
        Ok(settled)
    }

    /// A card whose last attempt is settled stands where it last proved to stand, less what was spent.
    async fn check_fits(&self, card: &CardRecord, attempt: &LoadAttempt) -> Result<(), Stop> {
        let Some(proven) = &card.proven else { return Ok(()) };
        let (counter, balance) = (attempt.answer.counter.value(), attempt.answer.balance.fen());
        let reason = if counter != proven.counter.0 {
            format!(
                "the card's online counter is {counter}, and it was {} when it was last seen",
                proven.counter
            )
        } else if u64::from(balance) > proven.balance.get() {
            format!(
                "the purse holds {} and held {} without a load in between",
                attempt.answer.balance, proven.balance
            )
        } else {
            return Ok(());
        };
        warn!(card = %card.card, reason, "a card contradicts the records");
        self.tell_credit_after_cancel(card, OnlineCounter(counter), Fen::new(balance.into())).await?;
        self.freeze(card, &reason).await?;
        Err(suspicious(&reason))
    }
}

/// The refusal of a card that contradicts the records.
pub(super) fn suspicious(reason: &str) -> Stop {
    Problem::because(ProblemCode::SuspiciousCard, format_args!("In detail: {reason}.")).into()
}

/// When the open attempt was intended: the store keeps the balance that the attempt rests on with that
/// time, and nothing proves another before the attempt is settled.
fn intended_at(card: &CardRecord) -> Timestamp {
    card.proven.map_or(card.issued_at, |proven| proven.at)
}

/// What the rules call an attempt.
pub(super) fn attempt_of(attempt: &LoadAttempt) -> Result<Attempt, Stop> {
    let terminal = TerminalNumber::from_bcd(attempt.command.terminal.to_bytes())
        .map_err(|_| Stop::from(ProblemCode::Internal))?;
    Ok(Attempt {
        terminal,
        counter: OnlineCounter(attempt.answer.counter.value()),
        balance: Fen::new(attempt.answer.balance.fen().into()),
    })
}

/// What the wallet is told of a top-up that is in the purse.
pub(super) fn topped_up(top_up: &TopUp, balance: Option<Fen>) -> Option<OutcomeDetail> {
    let (TopUpStage::Loaded(attempt, proof) | TopUpStage::Told(attempt, proof)) = top_up.stage else {
        return None;
    };
    let after = Fen::new(attempt.balance.get().saturating_add(top_up.amount.get()));
    match proof {
        LoadProof::Tac(_) | LoadProof::TacUnavailable => Some(OutcomeDetail::ToppedUp {
            amount_fen: to_wire(top_up.amount),
            balance_fen: to_wire(balance.unwrap_or(after)),
            counter: attempt.counter.0.saturating_add(1),
        }),
    }
}

fn fresh(seen: &LoadObservation) -> LoadAttempt {
    match seen {
        LoadObservation::NotCredited { attempt }
        | LoadObservation::Credited { attempt, .. }
        | LoadObservation::Suspicious { attempt } => *attempt,
    }
}
