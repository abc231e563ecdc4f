//! Topping up with cash at a terminal (B-7.4).
//!
//! Cash is an order that is paid when it is made: the terminal has the money. From there on it is a top-up
//! like any other, with the same attempts, the same recovery and the same order among all that use the online
//! counter of a card, so a phone's synchronise settles what a terminal left open, and a terminal settles what
//! a phone left open.
//!
//! ```text
//! BEGIN   order and its cash, durable -> SELECT, INITIALIZE FOR LOAD
//! turns   as for a wallet (top_up.rs)
//! CANCEL  the cash goes back: only from Waiting, or for an operation that was never begun
//! ```
//!
//! The centre books the cash with the card's proof and not before (cash in -> purse). What it never does:
//! cancel while the outcome of an attempt is not known.

use std::sync::Arc;

use serde_json::json;
use tsm_api::HexBytes;
use tsm_api::conversation::IfBusy;
use tsm_api::endpoint::Nothing;
use tsm_api::ids::{OperationId, OrderId as WireOrder, TaskId};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::sp_tsm::terminal::{CashTopUpRecord, CashTopUpReply, CashTopUpRequest, CashTopUpState};
use tsm_domain::card::CardRecord;
use tsm_domain::money::TopUpStage;
use tsm_domain::{CardNumber, Fen, OrderId, PaymentReference, TerminalNumber};
use tsm_storage::StorageError;
use tsm_storage::sp_tsm::{PaymentConfirmed, TopUpOrder, TopUpOrderState, With};

use super::SpTsm;
use super::access::Caller;
use super::top_up::TopUpRequest;
use crate::conversation::Start;
use crate::names;
use crate::purse::{card_from_wire, card_to_wire, to_wire};
use crate::server::Call;
use crate::stored;

/// Begins a top-up with cash, or goes on with it.
pub(super) async fn begin(
    tsm: Arc<SpTsm>,
    call: Call<Caller, CashTopUpRequest>,
) -> Result<CashTopUpReply, Problem> {
    let institution = call.caller.top_up_institution()?;
    let cash = Cash::read(&call.request)?;
    let card = tsm.store.card(cash.card).await.map_err(problem)?.ok_or(ProblemCode::UnknownId)?;
    let order = match tsm.store.top_up(cash.order()).await.map_err(problem)? {
        Some(known) if known.state != TopUpOrderState::AwaitingPayment => cash.same(known)?,
        // New, or stopped between the order and its cash.
        Some(_) | None => tsm.take_cash(&institution, &cash, &card).await?,
    };
    let waiting = tsm.waiting_cash(card.card, order.order).await?;
    let record = cash.record(&order);
    let goes_on = match record.state {
        CashTopUpState::Waiting | CashTopUpState::InFlight => true,
        // Two people have released the card, which says now what came of it.
        CashTopUpState::Suspicious => card.frozen.is_none(),
        CashTopUpState::Credited | CashTopUpState::Cancelled => false,
    };
    if !goes_on {
        return Ok(CashTopUpReply { record, conversation: None, waiting });
    }
    let request = TopUpRequest { se: card.se, application: card.instance, order: order.order };
    let start = Start {
        se: card.se,
        request: call.request.request,
        task: TaskId(tsm.environment.uuid()),
        operation: "cash-top-up",
        // The card is in the terminal's field: whatever a phone had begun with it is over, and what that left
        // open is settled first.
        if_busy: IfBusy::Replace,
        flow: tsm.clone().top_up_flow(request),
    };
    let conversation = Some(tsm.engine.start(start).await?);
    Ok(CashTopUpReply { record, conversation, waiting })
}

/// How an operation stands.
pub(super) async fn status(tsm: Arc<SpTsm>, call: Call<Caller, Nothing>) -> Result<CashTopUpRecord, Problem> {
    let operation: OperationId = call.parameter()?;
    call.caller.top_up_institution()?;
    let order = tsm.store.top_up(order_of(operation)).await.map_err(problem)?;
    record_of(operation, &order.ok_or(ProblemCode::UnknownId)?)
}

/// Cancels an operation, so that the cash may go back. One that never arrived here is closed, so that it
/// cannot arrive any more.
pub(super) async fn cancel(
    tsm: Arc<SpTsm>,
    call: Call<Caller, CashTopUpRequest>,
) -> Result<CashTopUpRecord, Problem> {
    call.caller.top_up_institution()?;
    let cash = Cash::read(&call.request)?;
    let Some(card) = tsm.store.card(cash.card).await.map_err(problem)? else {
        // Nothing can ever begin on a card that is not the issuer's.
        return Ok(cash.refused());
    };
    let order = match tsm.store.top_up(cash.order()).await.map_err(problem)? {
        Some(known) => cash.same(known)?,
        None => tsm.store.order_top_up(cash.new_order(&card, tsm.now())).await.map_err(problem)?,
    };
    let order = match order.state {
        TopUpOrderState::Closed => order,
        TopUpOrderState::AwaitingPayment => tsm.store.close_top_up(order.order).await.map_err(problem)?,
        // It is on the card, or a person decides; the terminal learns that and keeps the cash.
        TopUpOrderState::Paid {
            stage: TopUpStage::Loaded(..) | TopUpStage::Told(..) | TopUpStage::Suspicious(..),
            ..
        } => order,
        TopUpOrderState::Paid {
            stage: TopUpStage::Paid | TopUpStage::Intended(_) | TopUpStage::Cancelled,
            ..
        } => {
            let note = tsm.note(order.card, "cash-given-back", &json!({ "order": order.order }));
            let with = With { notes: vec![note], ..With::default() };
            tsm.store.cancel_top_up(order.order, with).await.map_err(problem)?;
            tsm.store.top_up(order.order).await.map_err(problem)?.ok_or(ProblemCode::UnknownId)?
        }
    };
    Ok(cash.record(&order))
}

impl SpTsm {
    /// Makes the order, with its cash.
    async fn take_cash(
        &self,
        institution: &str,
        cash: &Cash,
        card: &CardRecord,
    ) -> Result<TopUpOrder, Problem> {
        card.may_move_value().map_err(|refusal| problem(StorageError::Card(refusal)))?;
        self.check_amount(cash.amount, card.proven.map(|proven| proven.balance))?;
        let order = self.store.order_top_up(cash.new_order(card, self.now())).await.map_err(problem)?;
        let order = cash.same(order)?;
        let detail = json!({ "order": order.order, "terminal": cash.terminal, "institution": institution });
        let note = self.note(order.card, "cash-taken", &detail);
        let with = With { notes: vec![note], ..With::default() };
        let reference = PaymentReference::cash(cash.terminal, cash.operation.0);
        let paid = self.store.confirm_payment(order.order, reference, cash.amount, with).await;
        match paid.map_err(problem)? {
            PaymentConfirmed::Now(order) | PaymentConfirmed::Before(order) => Ok(order),
            // The terminal gave up before this message arrived.
            PaymentConfirmed::Closed => self
                .store
                .top_up(order.order)
                .await
                .map_err(problem)?
                .ok_or_else(|| ProblemCode::UnknownId.into()),
            PaymentConfirmed::WrongAmount { .. }
            | PaymentConfirmed::PaidByAnother(_)
            | PaymentConfirmed::UsedFor(_) => Err(another()),
        }
    }

    /// Cash that was taken for a card by other operations and is not on it.
    async fn waiting_cash(&self, card: CardNumber, but: OrderId) -> Result<Vec<CashTopUpRecord>, Problem> {
        let open = self.store.open_top_ups(card).await.map_err(problem)?;
        let others = open.iter().filter(|order| order.order != but);
        let cash = others.filter_map(|order| {
            let TopUpOrderState::Paid { payment, stage: TopUpStage::Paid } = &order.state else {
                return None;
            };
            let (_, operation) = payment.as_cash()?;
            record_of(OperationId(operation), order).ok()
        });
        Ok(cash.collect())
    }
}

/// A request in the rules' types.
struct Cash {
    operation: OperationId,
    terminal: TerminalNumber,
    card: CardNumber,
    amount: Fen,
}

impl Cash {
    fn read(request: &CashTopUpRequest) -> Result<Self, Problem> {
        let terminal: Option<[u8; 6]> = request.terminal.as_bytes().try_into().ok();
        let terminal = terminal.and_then(|bytes| TerminalNumber::from_bcd(bytes).ok());
        Ok(Self {
            operation: request.operation,
            terminal: terminal.ok_or_else(|| {
                Problem::because(
                    ProblemCode::ValueRefused,
                    both("A terminal has a number of twelve digits.", "终端编号为十二位数字。"),
                )
            })?,
            card: card_from_wire(&request.card)?,
            amount: Fen::new(request.amount_fen.into()),
        })
    }

    fn order(&self) -> OrderId {
        order_of(self.operation)
    }

    fn new_order(&self, card: &CardRecord, at: jiff::Timestamp) -> TopUpOrder {
        TopUpOrder {
            order: self.order(),
            card: card.card,
            se: card.se,
            amount: self.amount,
            created_at: at,
            state: TopUpOrderState::AwaitingPayment,
        }
    }

    /// The stored order, when it is for the same card and amount.
    fn same(&self, known: TopUpOrder) -> Result<TopUpOrder, Problem> {
        if known.card == self.card && known.amount == self.amount { Ok(known) } else { Err(another()) }
    }

    fn record(&self, order: &TopUpOrder) -> CashTopUpRecord {
        let terminal = match &order.state {
            TopUpOrderState::Paid { payment, .. } => payment.as_cash().map(|(terminal, _)| terminal),
            TopUpOrderState::AwaitingPayment | TopUpOrderState::Closed => None,
        };
        record(self.operation, terminal.unwrap_or(self.terminal), order)
    }

    fn refused(&self) -> CashTopUpRecord {
        CashTopUpRecord {
            operation: self.operation,
            order: None,
            terminal: HexBytes(self.terminal.to_bcd().to_vec()),
            card: card_to_wire(self.card),
            amount_fen: to_wire(self.amount),
            state: CashTopUpState::Cancelled,
        }
    }
}

/// The record of an order that is stored with its cash.
fn record_of(operation: OperationId, order: &TopUpOrder) -> Result<CashTopUpRecord, Problem> {
    let terminal = match &order.state {
        TopUpOrderState::Paid { payment, .. } => payment.as_cash().ok_or(ProblemCode::UnknownId)?.0,
        TopUpOrderState::AwaitingPayment | TopUpOrderState::Closed => {
            return Err(ProblemCode::UnknownId.into());
        }
    };
    Ok(record(operation, terminal, order))
}

fn record(operation: OperationId, terminal: TerminalNumber, order: &TopUpOrder) -> CashTopUpRecord {
    CashTopUpRecord {
        operation,
        order: Some(WireOrder(order.order.as_uuid())),
        terminal: HexBytes(terminal.to_bcd().to_vec()),
        card: card_to_wire(order.card),
        amount_fen: to_wire(order.amount),
        state: state_of(&order.state),
    }
}

const fn state_of(state: &TopUpOrderState) -> CashTopUpState {
    match state {
        TopUpOrderState::AwaitingPayment => CashTopUpState::Waiting,
        TopUpOrderState::Closed => CashTopUpState::Cancelled,
        TopUpOrderState::Paid { stage, .. } => match stage {
            TopUpStage::Paid => CashTopUpState::Waiting,
            TopUpStage::Intended(_) => CashTopUpState::InFlight,
            TopUpStage::Loaded(..) | TopUpStage::Told(..) => CashTopUpState::Credited,
            TopUpStage::Cancelled => CashTopUpState::Cancelled,
            TopUpStage::Suspicious(..) => CashTopUpState::Suspicious,
        },
    }
}

/// One operation is one order, whichever terminal goes on with it.
fn order_of(operation: OperationId) -> OrderId {
    OrderId::from_uuid(names::derived(&["order", "cash", &operation.to_string()]))
}

fn another() -> Problem {
    Problem::because(
        ProblemCode::Duplicate,
        both("The operation was used for another card or amount.", "该操作号已用于其他卡片或金额。"),
    )
}

fn problem(error: StorageError) -> Problem {
    stored::problem(&error)
}
