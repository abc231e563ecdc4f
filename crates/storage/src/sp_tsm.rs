//! The store of the SP-TSM.

pub mod arrivals;
pub mod desk;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tsm_domain::arrival::Arrival;
use tsm_domain::card::{CardOrder, CardRecord, ProvenPurse};
use tsm_domain::money::{Attempt, Evidence, ProvenObservation, Resolution, Tac, TopUp, TopUpStage};
use tsm_domain::security_domain::DomainOnSe;
use tsm_domain::{
    CardNumber, ConversationId, Fen, OperationId, OrderId, PaymentReference, SeId, TerminalNumber,
};
use tsm_iso7816::Aid;

pub use arrivals::{ArrivalOrdered, Arrivals, CardHolder, HolderData, ParkedReturned};
pub use desk::{DeskCases, LossFollowed, LossWord};

use crate::clerks::Clerks;
use crate::error::Result;
use crate::shared::{
    Chains, ConversationEnd, Conversations, Delivery, Fence, Incident, Incidents, Note, Outbox, Sessions,
};

/// What a consent is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConsentTo {
    /// A download (B-8.5.2).
    Download,
    /// A deletion (B-8.5.3).
    Deletion,
    /// The word that an application is not on the card.
    Absence,
}

/// What the SP-TSM answered to a request of the SE-TSM. Asked again for the same conversation, it answers
/// the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// The conversation that asked.
    pub conversation: ConversationId,
    /// The SE.
    pub se: SeId,
    /// The application.
    pub application: Aid,
    /// What for.
    pub to: ConsentTo,
    /// `None` when it is allowed, else the reason.
    pub refused: Option<String>,
    /// When.
    pub at: jiff::Timestamp,
    /// The result that the SE-TSM reported, once it did.
    pub result: Option<String>,
    /// The address of the process that prepared the hand-over, where several share the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

/// How far a top-up order has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TopUpOrderState {
    /// Not paid.
    AwaitingPayment,
    /// Closed unpaid.
    Closed,
    /// Paid; from here on the top-up's own stages count.
    Paid {
        /// The payment.
        payment: PaymentReference,
        /// The stage.
        stage: TopUpStage,
    },
}

/// A top-up order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopUpOrder {
    /// The order.
    pub order: OrderId,
    /// The card.
    pub card: CardNumber,
    /// The SE that carried it when it was ordered.
    pub se: SeId,
    /// The amount.
    pub amount: Fen,
    /// When it was made.
    pub created_at: jiff::Timestamp,
    /// How far it has come.
    pub state: TopUpOrderState,
}

/// The result of a payment confirmation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentConfirmed {
    /// The order is paid now.
    Now(TopUpOrder),
    /// It was paid by this payment already.
    Before(TopUpOrder),
    /// The amount is not the order's. Nothing changed.
    WrongAmount {
        /// The order's.
        expected: Fen,
    },
    /// This payment paid another order already. Nothing changed, and it must not go back.
    UsedFor(OrderId),
    /// Another payment paid it. This one must go back.
    PaidByAnother(PaymentReference),
    /// The order was closed. The payment must go back.
    Closed,
}

/// The result of an order to open a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CardOrdered {
    /// Accepted, or accepted before.
    Accepted(CardOrder),
    /// The card number is taken; propose another.
    NumberTaken,
}

/// One change of what is known about cards on an SE, stored as a whole or not at all.
///
/// Cards and orders move along their tables: a state that cannot follow the stored one is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpChange {
    /// Cards.
    pub cards: Vec<CardRecord>,
    /// Orders to open cards.
    pub orders: Vec<CardOrder>,
    /// Parked cards on their way to the SE.
    pub arrivals: Vec<Arrival>,
    /// The provider's own security domains on the SE.
    pub domains: Vec<DomainOnSe>,
    /// Incidents.
    pub incidents: Vec<Incident>,
    /// Messages to send.
    pub deliveries: Vec<Delivery>,
    /// Journal entries.
    pub notes: Vec<Note>,
    /// The end of the conversation, which also gives the lease back.
    pub end: Option<ConversationEnd>,
}

/// What goes with a step of a top-up: messages, journal entries, incidents, all or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct With {
    /// Messages to send.
    pub deliveries: Vec<Delivery>,
    /// Journal entries.
    pub notes: Vec<Note>,
    /// Incidents.
    pub incidents: Vec<Incident>,
}

/// What goes with the outcome of an attempt: the card's word decides which of it is stored, in the same step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WithOutcome {
    /// Whatever came of it.
    pub always: With,
    /// When it was credited.
    pub credited: With,
    /// When it froze the card.
    pub suspicious: With,
}

impl WithOutcome {
    /// What is stored when a top-up moves from one stage to another: always, and of its outcome.
    pub(crate) fn of(self, before: TopUpStage, after: TopUpStage) -> (With, With) {
        let of_outcome = match after {
            _ if after == before => With::default(),
            TopUpStage::Loaded(..) => self.credited,
            TopUpStage::Suspicious(..) => self.suspicious,
            TopUpStage::Paid | TopUpStage::Intended(_) | TopUpStage::Told(..) | TopUpStage::Cancelled => {
                With::default()
            }
        };
        (self.always, of_outcome)
    }
}

/// The store of the SP-TSM.
#[async_trait]
pub trait SpTsmStore:
    Conversations + Sessions + Outbox + Incidents + Chains + Clerks + Arrivals + DeskCases
{
    // Consent.

    /// Records a consent or refusal, or gives the one that was recorded for the same conversation and purpose.
    async fn record_consent(&self, consent: Consent) -> Result<Consent>;
    /// The consent given to a conversation.
    async fn consent(&self, conversation: ConversationId, to: ConsentTo) -> Result<Option<Consent>>;
    /// The SE-TSM reported a result. Reporting it again changes nothing.
    async fn report_result(
        &self,
        conversation: ConversationId,
        to: ConsentTo,
        result: String,
        with: With,
    ) -> Result<()>;

    // Cards.

    /// Accepts an order to open a card, with the card number it proposes. Run again, it gives the order that
    /// was accepted.
    async fn order_card(&self, order: CardOrder, with: With) -> Result<CardOrdered>;
    /// An order to open a card.
    async fn card_order(&self, order: OrderId) -> Result<Option<CardOrder>>;
    /// The newest order for an application on an SE that is neither told nor given up.
    async fn open_card_order(&self, se: SeId, application: Aid) -> Result<Option<CardOrder>>;
    /// Stores a change about the SE whose link `fence` holds.
    async fn commit(&self, fence: Fence, change: SpChange) -> Result<()>;
    /// A card.
    async fn card(&self, card: CardNumber) -> Result<Option<CardRecord>>;
    /// The cards on an SE.
    async fn cards_on(&self, se: SeId) -> Result<Vec<CardRecord>>;
    /// Cards in order, from `after` on.
    async fn cards(&self, after: Option<CardNumber>, limit: usize) -> Result<Vec<CardRecord>>;
    /// The provider's domains on an SE.
    async fn domains_on(&self, se: SeId) -> Result<Vec<DomainOnSe>>;
    /// Marks that the centre has the account of an opened card. Saying so again changes nothing.
    async fn card_told(&self, order: OrderId) -> Result<CardOrder>;
    /// Marks that the centre has the closing of a card, with what follows from it. Saying so again changes
    /// nothing, and puts nothing again.
    async fn card_closing_told(
        &self,
        card: CardNumber,
        operation: OperationId,
        with: With,
    ) -> Result<CardRecord>;
    /// Freezes a card for value, or releases it: what a released card proved before does not bind it any more,
    /// unless an open attempt rests on it.
    async fn set_frozen(&self, card: CardNumber, reason: Option<String>, with: With) -> Result<()>;

    // Top-ups. Every step checks the stage that is stored, in the same atomic step.

    /// Makes a top-up order, or gives the one that is there.
    async fn order_top_up(&self, order: TopUpOrder) -> Result<TopUpOrder>;
    /// A top-up order.
    async fn top_up(&self, order: OrderId) -> Result<Option<TopUpOrder>>;
    /// The orders of a card that are paid and neither told nor cancelled, oldest first.
    async fn open_top_ups(&self, card: CardNumber) -> Result<Vec<TopUpOrder>>;
    /// The newest orders of a card.
    async fn top_ups_of(&self, card: CardNumber, limit: usize) -> Result<Vec<TopUpOrder>>;
    /// Orders made before `before` that are neither paid nor closed, oldest first.
    async fn unpaid_top_ups(&self, before: jiff::Timestamp, limit: usize) -> Result<Vec<TopUpOrder>>;
    /// Closes an order that is not paid.
    async fn close_top_up(&self, order: OrderId) -> Result<TopUpOrder>;
    /// The order that a payment paid, if it paid one.
    async fn order_paid_by(&self, payment: &PaymentReference) -> Result<Option<OrderId>>;
    /// The payment platform confirmed a payment, signed. One payment pays one order, once.
    async fn confirm_payment(
        &self,
        order: OrderId,
        payment: PaymentReference,
        amount: Fen,
        with: With,
    ) -> Result<PaymentConfirmed>;
    /// A terminal number that was never used on the card: the station's four digits and the card's next
    /// attempt. Run again, it gives another.
    async fn next_terminal_number(&self, card: CardNumber, station: u16) -> Result<TerminalNumber>;
    /// Opens an attempt, and stores the proven balance with it. It must return before MAC2 is computed.
    async fn intend_load(
        &self,
        fence: Fence,
        order: OrderId,
        attempt: Attempt,
        purse_maximum: Fen,
        at: jiff::Timestamp,
        with: With,
    ) -> Result<TopUp>;
    /// The card credited the load, proven by its TAC.
    async fn record_loaded(
        &self,
        fence: Fence,
        order: OrderId,
        terminal: TerminalNumber,
        tac: Tac,
        at: jiff::Timestamp,
        with: With,
    ) -> Result<TopUp>;
    /// Settles the open attempt from the card's proven state, with what goes with that outcome. A suspicious card is
    /// frozen in the same step; an attempt that froze its card is settled once the card is released.
    async fn settle_attempt(
        &self,
        fence: Fence,
        order: OrderId,
        seen: ProvenObservation,
        evidence: Evidence,
        at: jiff::Timestamp,
        with: WithOutcome,
    ) -> Result<(TopUp, Resolution)>;
    /// The centre has the transaction.
    async fn top_up_told(&self, order: OrderId) -> Result<TopUp>;
    /// Cancels a paid top-up whose card proved that nothing was credited, or that was never attempted.
    async fn cancel_top_up(&self, order: OrderId, with: With) -> Result<TopUp>;
    /// Keeps what a card proved outside a top-up.
    async fn record_proven(&self, fence: Fence, card: CardNumber, proven: ProvenPurse) -> Result<()>;
}

impl TopUpOrder {
    /// The paid top-up, whose stages the domain moves.
    pub fn paid(&self) -> Option<TopUp> {
        match &self.state {
            TopUpOrderState::AwaitingPayment | TopUpOrderState::Closed => None,
            TopUpOrderState::Paid { stage, .. } => {
                Some(TopUp { order: self.order, card: self.card, amount: self.amount, stage: *stage })
            }
        }
    }

    /// The attempt of which only the card knows what came.
    pub fn attempt_in_doubt(&self) -> Option<Attempt> {
        self.paid().and_then(|top_up| top_up.stage.attempt_in_doubt())
    }

    /// Whether it is paid and neither told nor cancelled.
    pub const fn is_open(&self) -> bool {
        match &self.state {
            TopUpOrderState::AwaitingPayment | TopUpOrderState::Closed => false,
            TopUpOrderState::Paid { stage, .. } => {
                !matches!(stage, TopUpStage::Told(..) | TopUpStage::Cancelled)
            }
        }
    }
}
