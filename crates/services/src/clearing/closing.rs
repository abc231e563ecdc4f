//! Closing a card: the intention, its undoing, and how a step is decided and made (B-7.5.1, B-7.6.1).
//!
//! A closing is one row with a number of its own. Each report names that number; a report that comes late,
//! twice or before the one that it follows finds what the row says and changes nothing twice.

use std::sync::Arc;

use serde_json::{Value, json};
use tsm_api::clearing::AccountState;
use tsm_api::clearing::closing::{
    BeginClosing, ClosingPurpose as WirePurpose, ClosingQuery, ClosingRecord, ClosingStage as WireStage,
    UndoClosing, UndoEvidence,
};
use tsm_api::conversation::RefundStanding;
use tsm_api::ids::OperationId as WireOperation;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::money::{
    AccountKind, CardAccount, CardAccountState, Closing, ClosingMove, ClosingPurpose, ClosingRefusal,
    ClosingStage, Transfer, TransferCode, TransferRefusal,
};
use tsm_domain::{CardNumber, Fen, OperationId, OrderId, SeId, TransferId};
use tsm_storage::StorageError;
use tsm_storage::clearing::{AccountRow, Books, ClosingStep};

use super::Clearing;
use super::access::Institution;
use crate::names;
use crate::purse::{card_from_wire, card_to_wire, se_from_wire, to_wire};
use crate::server::Call;
use crate::stored;

/// How often a step is decided again because another one came between.
const TRIES: usize = 8;

/// A step as it was decided.
pub(super) struct Decided {
    pub made: ClosingMove,
    /// What tells this transfer from others of the same closing and code.
    pub own: Option<OperationId>,
    /// The order whose payment takes the money back.
    pub order: Option<OrderId>,
    /// Its name in the card's journal.
    pub event: &'static str,
    /// What the journal says of it.
    pub detail: Value,
}

/// Begins a closing.
pub(super) async fn begin_closing(
    centre: Arc<Clearing>,
    call: Call<Institution, BeginClosing>,
) -> Result<ClosingRecord, Problem> {
    let Institution(institution, _) = call.caller;
    let request = call.request;
    let card = card_from_wire(&request.card)?;
    centre.check_issuer(&institution, card)?;
    let (se, purpose) = (se_from_wire(&request.se_id)?, purpose_from_wire(request.purpose));
    let operation = operation_from_wire(request.operation);
    let hold = centre.hold_on(&centre.known(card).await?).await?;
    centre
        .step_closing(&institution, card, operation, |row, known| {
            if known.is_some() {
                return Ok(None);
            }
            require_carrier(row, se)?;
            if let Some(hold) = &hold {
                return Err(hold.problem());
            }
            let closing = Closing::begin(card, operation, se, purpose, centre.now());
            Ok(Some(Decided::new(closing.begun(), "closing-begun", json!({ "purpose": purpose }))))
        })
        .await
}

/// Puts a card back to use.
pub(super) async fn undo_closing(
    centre: Arc<Clearing>,
    call: Call<Institution, UndoClosing>,
) -> Result<ClosingRecord, Problem> {
    let Institution(institution, _) = call.caller;
    let UndoClosing { card, operation, evidence } = call.request;
    let (card, operation) = (card_from_wire(&card)?, operation_from_wire(operation));
    centre.check_issuer(&institution, card)?;
    let detail = match evidence {
        UndoEvidence::NeverSent => json!({ "evidence": "never sent" }),
        UndoEvidence::NotBlocked { balance_fen, online_counter } => {
            json!({ "evidence": "MAC1", "balance_fen": balance_fen, "online_counter": online_counter })
        }
    };
    centre
        .step_closing(&institution, card, operation, |row, known| {
            let made = match known {
                Some(known) => known.undo().map_err(refused)?,
                // It overtook the report that the closing begins, which then finds it undone.
                None => {
                    let se = row.account.state.carrier().ok_or(ProblemCode::StateForbids)?;
                    let at = centre.now();
                    let closing = Closing::begin(card, operation, se, ClosingPurpose::Return, at);
                    let closing = Closing { stage: ClosingStage::Undone, ..closing };
                    Some(ClosingMove { closing, events: Vec::new(), money: None })
                }
            };
            Ok(made.map(|made| Decided::new(made, "closing-undone", detail.clone())))
        })
        .await
}

/// A closing, the newest when none is named.
pub(super) async fn closing(
    centre: Arc<Clearing>,
    call: Call<Institution, ClosingQuery>,
) -> Result<ClosingRecord, Problem> {
    let ClosingQuery { card, operation } = call.request;
    let card = card_from_wire(&card)?;
    centre.check_issuer(&call.caller.0, card)?;
    let row = centre.known(card).await?;
    let operation = operation.map(operation_from_wire);
    let closings = centre.closings(card).await?;
    let found = closings.iter().find(|known| operation.is_none_or(|wanted| known.operation == wanted));
    let found = found.ok_or(ProblemCode::UnknownId)?;
    Ok(record(found, &row.account))
}

impl Decided {
    pub(super) const fn new(made: ClosingMove, event: &'static str, detail: Value) -> Self {
        Self { made, own: None, order: None, event, detail }
    }
}

impl Clearing {
    pub(super) async fn closings(&self, card: CardNumber) -> Result<Vec<Closing>, Problem> {
        self.store.closings_of(card).await.map_err(|error| stored::problem(&error))
    }

    /// Decides a step from the rows as they are, and makes it with what it books. `decide` gives none when
    /// the step was made before. When another step came between, it is decided again.
    pub(super) async fn step_closing(
        &self,
        institution: &str,
        card: CardNumber,
        operation: OperationId,
        decide: impl Fn(&AccountRow, Option<&Closing>) -> Result<Option<Decided>, Problem>,
    ) -> Result<ClosingRecord, Problem> {
        for _ in 0..TRIES {
            let row = self.known(card).await?;
            let known = self.store.closing(card, operation).await;
            let known = known.map_err(|error| stored::problem(&error))?;
            let Some(decided) = decide(&row, known.as_ref())? else {
                let known = known.ok_or(ProblemCode::Internal)?;
                return Ok(record(&known, &row.account));
            };
            let step = self.step(institution, known, &decided);
            match self.store.step_closing(step).await {
                Ok(account) => return Ok(record(&decided.made.closing, &account)),
                Err(StorageError::Conflict { .. }) => {}
                Err(error) => return Err(refused_step(&error)),
            }
        }
        Err(ProblemCode::Unavailable.into())
    }

    fn step(&self, institution: &str, before: Option<Closing>, decided: &Decided) -> ClosingStep {
        let ClosingMove { closing, events, money } = &decided.made;
        let transfers = money.iter().map(|(code, amount)| self.of_closing(decided, *code, *amount));
        let mut detail = decided.detail.clone();
        if let Some(fields) = detail.as_object_mut() {
            fields.insert("closing".into(), json!(closing.operation));
        }
        let note = self.note(closing.card, institution, decided.event, &detail);
        let books = Books { transfers: transfers.collect(), notes: vec![note], ..Books::default() };
        ClosingStep { before, after: closing.clone(), events: events.clone(), books }
    }

    /// A transfer of a closing: each is booked once, and a part of a refund once for its own number.
    fn of_closing(&self, decided: &Decided, code: TransferCode, amount: Fen) -> Transfer {
        let closing = &decided.made.closing;
        let own = decided.own.unwrap_or(closing.operation).to_string();
        let closed = closing.operation.to_string();
        let words = ["closing", code.name(), closing.card.as_str(), &closed, &own];
        let id = TransferId::from_uuid(names::derived(&words));
        let transfer = code.transfer(id, closing.card, amount, self.now());
        match decided.order {
            Some(order) => transfer.for_order(order),
            None => transfer,
        }
    }

    pub(super) async fn held(&self, card: CardNumber, kind: AccountKind) -> Result<Fen, Problem> {
        let balance = self.store.balance(card, kind).await.map_err(|error| stored::problem(&error))?;
        Ok(balance.posted)
    }
}

/// Only the SE that carries a card can close it.
pub(super) fn require_carrier(row: &AccountRow, se: SeId) -> Result<(), Problem> {
    match row.account.state.carrier() {
        Some(carrier) if carrier == se => Ok(()),
        _ => Err(Problem::because(
            ProblemCode::StateForbids,
            both("The card is not on this secure element.", "卡片不在此安全单元上。"),
        )),
    }
}

/// What a refused step means to the institution that reported it.
fn refused_step(error: &StorageError) -> Problem {
    match error {
        StorageError::Transfer(TransferRefusal::ExceedsBalance { .. }) => Problem::because(
            ProblemCode::StateForbids,
            both(
                "The books do not show so much yet. Report it again when the card's loads are reported.",
                "账上余额尚不足此数，请待圈存上报后重新上报。",
            ),
        ),
        other => stored::problem(other),
    }
}

/// A refusal of the rules.
pub(super) fn refused(refusal: ClosingRefusal) -> Problem {
    let code = match refusal {
        ClosingRefusal::Stage { .. } | ClosingRefusal::NoImage | ClosingRefusal::GivenUp => {
            ProblemCode::StateForbids
        }
        ClosingRefusal::Differs => ProblemCode::Duplicate,
        ClosingRefusal::ClaimedByAnother => ProblemCode::BoundElsewhere,
        ClosingRefusal::MoreThanOwed { .. } => ProblemCode::AmountRefused,
    };
    Problem::because(code, format_args!("In detail: {refusal}."))
}

pub(super) fn operation_from_wire(operation: WireOperation) -> OperationId {
    OperationId::from_uuid(operation.0)
}

pub(super) const fn purpose_from_wire(purpose: WirePurpose) -> ClosingPurpose {
    match purpose {
        WirePurpose::Return => ClosingPurpose::Return,
        WirePurpose::Migration => ClosingPurpose::Migration,
    }
}

/// A closing as institutions see it.
pub(super) fn record(closing: &Closing, account: &CardAccount) -> ClosingRecord {
    let paid_out = closing.stage.paid_out();
    ClosingRecord {
        card: card_to_wire(closing.card),
        operation: WireOperation(closing.operation.as_uuid()),
        purpose: match closing.purpose {
            ClosingPurpose::Return => WirePurpose::Return,
            ClosingPurpose::Migration => WirePurpose::Migration,
        },
        stage: match &closing.stage {
            ClosingStage::Begun => WireStage::Begun,
            ClosingStage::Undone => WireStage::Undone,
            ClosingStage::Parked(_) => WireStage::Parked,
            ClosingStage::Claimed(..) => WireStage::Claimed,
            ClosingStage::Arrived(..) => WireStage::Arrived,
            ClosingStage::Refunding { parking, .. } if paid_out == parking.balance => WireStage::Refunded,
            ClosingStage::Refunding { .. } => WireStage::RefundOrdered,
        },
        state: AccountState::of(&account.state),
        balance_fen: closing.stage.parking().map(|parking| to_wire(parking.balance)),
        refunded_fen: to_wire(paid_out),
        standing: match (&account.freeze, &account.state) {
            (None, _) | (Some(_), CardAccountState::Refunded) => RefundStanding::OnItsWay,
            (Some(_), _) => RefundStanding::Held,
        },
    }
}

/// How an account's state is called on the wire.
pub(super) trait StateOnTheWire {
    /// The state of an account.
    fn of(state: &CardAccountState) -> Self;
}

impl StateOnTheWire for AccountState {
    fn of(state: &CardAccountState) -> Self {
        match state {
            CardAccountState::Opening { .. } => Self::Opening,
            CardAccountState::Live { .. } => Self::Live,
            CardAccountState::Closing { .. } => Self::Closing,
            CardAccountState::Parked { .. } => Self::Parked,
            CardAccountState::RefundPayable { .. } => Self::RefundPayable,
            CardAccountState::Refunded => Self::Refunded,
        }
    }
}
