//! Orders paid from a transit card over the network (B-7.3.1): the platform is a terminal that reaches the
//! card through the payer's wallet, and an institution that reports to the clearing centre.
//!
//! ```text
//! START   -> SELECT, INITIALIZE FOR PURCHASE                         paying.rs
//! turn 1  <- card, balance, counter, random: proven by nothing
//!            attempt intended, durable
//!         -> DEBIT FOR PURCHASE with MAC1
//! turn 2  <- MAC2: proven. Debited and paid, durable; merchant and centre are told through the outbox
//!         -> outcome                                                 notices.rs
//! ```
//!
//! After any break the next contact asks the card first (`settling.rs`); what it cannot prove any more goes to the
//! centre (`unproven.rs`). The platform has the purchase root and no TAC root: it believes MAC2, and the centre's word
//! about the TAC comes later. The terminal's number is one and the same, as a shop's is; what no card ever sees twice
//! is the terminal's sequence, which goes into the session key and under the TAC. Nothing here takes a timeout for an
//! answer.

mod debited;
mod disputes;
mod notices;
mod paying;
mod processes;
mod settling;
mod stop;
mod unproven;

use std::sync::Arc;

use futures_util::FutureExt as _;
use jiff::SignedDuration;
use tsm_api::HexBytes;
use tsm_api::client::ClearingPeer;
use tsm_api::conversation::{ConversationReply, TurnRequest};
use tsm_api::endpoint::Nothing;
use tsm_api::ids::{ConversationId, PaymentId, TaskId};
use tsm_api::payment::purse::{AddressedPayments, CardChoice, CardPayment, TURN};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::money::PayerToken;
use tsm_domain::{CardNumber, OrderId, SeId, TerminalNumber};
use tsm_epurse::KeyRole;
use tsm_epurse::file::PublicInformation;
use tsm_iso7816::Aid;
use tsm_keys::{KeyHandle, KeyService};

use super::PaymentSandbox;
use super::access::Caller;
use crate::conversation::{Ending, Engine, Flow, Limits, MemoryLeases, Start};
use crate::purse::{PurseKeys, aid_from_wire};
use crate::runtime::Environment;
use crate::server::Call;
use crate::siblings::Elsewhere;
use crate::stored;

pub(super) use notices::Notices;

/// The kinds of messages to the centre.
pub(super) const MESSAGES: [&str; 2] = [notices::KIND, unproven::KIND];
/// Orders listed at once.
const MOST: usize = 100;

/// What the platform needs to take transit cards.
#[derive(Clone)]
pub struct CardAcceptance {
    /// Its terminal's number, which the centre knows as the platform's.
    pub terminal: TerminalNumber,
    /// The issuers' purse keys, by the eight digits that their card numbers begin with. Its key service has
    /// their purchase roots.
    pub issuers: Vec<(String, PurseKeys)>,
    /// The way to the clearing centre.
    pub centre: ClearingPeer,
    /// How long conversations are kept.
    pub limits: Limits,
    /// How long an attempt stays open before the centre hears of it: its rider may come back, and other terminals may
    /// report the purchase that settles it.
    pub unproven_after: SignedDuration,
}

/// The part of the platform that takes cards.
pub(super) struct Cards {
    terminal: TerminalNumber,
    issuers: Vec<(String, PurseKeys)>,
    centre: ClearingPeer,
    engine: Engine,
    keys: Arc<dyn KeyService>,
    unproven_after: SignedDuration,
}

impl Cards {
    pub(super) fn new(
        acceptance: CardAcceptance,
        keys: Arc<dyn KeyService>,
        environment: &Environment,
    ) -> Self {
        let CardAcceptance { terminal, issuers, centre, limits, unproven_after } = acceptance;
        let engine = Engine::new(environment.clone(), Arc::new(MemoryLeases::default()), limits);
        Self { terminal, issuers, centre, engine, keys, unproven_after }
    }

    /// The card that says this about itself, and its purchase key.
    fn accepted(&self, said: &PublicInformation) -> Result<(CardNumber, KeyHandle), stop::Stop> {
        let card = CardNumber::from_application_serial(&said.serial.0)
            .map_err(|_| Problem::new(ProblemCode::CardNotTaken))?;
        if said.application_version != PublicInformation::ENABLED {
            return Err(ProblemCode::CardLocked.into());
        }
        Ok((card, self.purchase_key(card, Some(said))?))
    }

    fn purchase_key(
        &self,
        card: CardNumber,
        said: Option<&PublicInformation>,
    ) -> Result<KeyHandle, stop::Stop> {
        let issuer = self.issuers.iter().find(|(prefix, _)| card.as_str().starts_with(prefix.as_str()));
        let (_, keys) = issuer.ok_or(ProblemCode::CardNotTaken)?;
        if said.is_some_and(|said| said.issuer != keys.issuer) {
            return Err(ProblemCode::CardNotTaken.into());
        }
        Ok(keys.of_card(&*self.keys, KeyRole::Purchase, card)?)
    }
}

/// Which order is to be paid, from which purse, and whether it still is.
#[derive(Debug, Clone, Copy)]
struct CardRequest {
    order: OrderId,
    purse: Aid,
    choice: CardChoice,
}

/// Begins a conversation.
pub(super) async fn pay_from_card(
    sandbox: Arc<PaymentSandbox>,
    call: Call<Caller, CardPayment>,
) -> Result<ConversationReply, Problem> {
    let payment: PaymentId = call.parameter()?;
    let CardPayment { options, aid, choice } = call.request;
    let order = OrderId::from_uuid(payment.0);
    let row = sandbox.payment(order).await?;
    if row.purse.is_none() {
        return Err(not_offered());
    }
    let engine = &sandbox.cards()?.engine;
    let request = CardRequest { order, purse: aid_from_wire(&aid)?, choice };
    let platform = sandbox.clone();
    let flow: Flow = Box::new(move |session| {
        async move { Ending::from(platform.card_payment(session, request).await) }.boxed()
    });
    let start = Start {
        se: line_of(order)?,
        request: options.request,
        task: TaskId(sandbox.environment.uuid()),
        operation: "pay-from-card",
        if_busy: options.if_busy,
        flow,
    };
    engine.start(start).await
}

/// Takes a turn.
pub(super) async fn turn(
    sandbox: Arc<PaymentSandbox>,
    call: Call<Caller, TurnRequest>,
) -> Result<ConversationReply, Problem> {
    let conversation: ConversationId = call.parameter()?;
    let elsewhere = Elsewhere { siblings: sandbox.siblings.as_deref(), store: &*sandbox.store };
    elsewhere.turn(&sandbox.cards()?.engine, &TURN, conversation, call.request).await
}

/// What merchants have addressed to a payer.
pub(super) async fn addressed(
    sandbox: Arc<PaymentSandbox>,
    call: Call<Caller, Nothing>,
) -> Result<AddressedPayments, Problem> {
    let payer: PayerToken = call.parameter()?;
    let rows = sandbox.store.orders_addressed_to(payer, MOST).await;
    let mut payments = Vec::new();
    for row in rows.map_err(|error| stored::problem(&error))? {
        payments.push(sandbox.record(&row).await?);
    }
    Ok(AddressedPayments { payments })
}

impl PaymentSandbox {
    pub(super) fn cards(&self) -> Result<&Cards, Problem> {
        self.cards.as_ref().ok_or_else(not_offered)
    }
}

/// Reads a payer's token off the wire.
pub(super) fn token(bytes: &HexBytes) -> Result<PayerToken, Problem> {
    let bytes: [u8; 16] = bytes
        .as_bytes()
        .try_into()
        .map_err(|_| Problem::because(ProblemCode::ValueRefused, "A payer's token has 16 bytes."))?;
    Ok(PayerToken::new(bytes))
}

fn not_offered() -> Problem {
    Problem::because(
        ProblemCode::StateForbids,
        both("This order cannot be paid from a transit card.", "该订单不能用交通卡支付。"),
    )
}

/// Conversations stand in line at their order: it is what must not be paid twice.
fn line_of(order: OrderId) -> Result<SeId, Problem> {
    SeId::new(order.as_uuid().as_bytes()).map_err(|_| ProblemCode::Internal.into())
}
