//! What the issuer can show: a rider's receipts, which the centre signs; a card explained with what the issuer
//! adds; and what is being done now.

use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_api::clearing::evidence::{
    CardFacts, CardQuery, IssuerFacts, OrderFact, ProvenFact, ReceiptPage, ReceiptQuery,
};
use tsm_api::client::ClientError;
use tsm_api::endpoint::Nothing;
use tsm_api::ids::OrderId;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::sp_tsm::evidence::{AfterEntry, FlowLine, Flows};
use tsm_domain::CardNumber;
use tsm_domain::card::CardState;
use tsm_storage::StorageError;

use super::SpTsm;
use super::access::Caller;
use super::stop::Stop;
use crate::names;
use crate::purse::{aid_from_wire, card_from_wire, card_to_wire};
use crate::server::Call;
use crate::stored;

/// Flows that are shown.
const FLOWS: usize = 100;

/// The receipts of an own card.
pub(super) async fn receipts(
    tsm: Arc<SpTsm>,
    call: Call<Caller, AfterEntry>,
) -> Result<ReceiptPage, Problem> {
    let aid =
        call.parameters.first().and_then(|text| hex::decode(text).ok()).ok_or(ProblemCode::UnknownId)?;
    let application = aid_from_wire(&HexBytes(aid)).map_err(|_| ProblemCode::UnknownId)?;
    let after = call.request.after;
    let se = call.caller.wallet()?.se;
    let card = tsm.card_on(se, application).await.map_err(Stop::into_problem)?;
    let card = card_to_wire(card.ok_or(ProblemCode::UnknownId)?.card);
    tsm.links.centre.receipts(&ReceiptQuery { card, after }).await.map_err(of_centre)
}

/// A card explained.
pub(super) async fn explanation(
    tsm: Arc<SpTsm>,
    call: Call<Caller, CardQuery>,
) -> Result<CardFacts, Problem> {
    tsm.require_own_tools(&call.caller)?;
    let card = card_from_wire(&call.request.card)?;
    let facts = tsm.links.centre.explanation(&call.request).await.map_err(of_centre)?;
    Ok(CardFacts { issuer: tsm.issuer_facts(card).await?, ..facts })
}

/// What is being done now.
pub(super) async fn flows(tsm: Arc<SpTsm>, call: Call<Caller, Nothing>) -> Result<Flows, Problem> {
    tsm.require_own_tools(&call.caller)?;
    let mut running = tsm.engine.running();
    running.sort_by_key(|(_, task)| task.started_at);
    running.truncate(FLOWS);
    let line = |(se, task): (tsm_domain::SeId, crate::conversation::RunningTask)| FlowLine {
        se: names::masked(&se.to_string()),
        operation: task.operation.to_owned(),
        started_at: task.started_at,
    };
    Ok(Flows { flows: running.into_iter().map(line).collect() })
}

impl SpTsm {
    async fn issuer_facts(&self, number: CardNumber) -> Result<Option<IssuerFacts>, Problem> {
        let problem = |error: StorageError| stored::problem(&error);
        let Some(card) = self.store.card(number).await.map_err(problem)? else { return Ok(None) };
        let open = self.store.open_top_ups(number).await.map_err(problem)?;
        Ok(Some(IssuerFacts {
            state: match card.state {
                CardState::Issuing => "issuing",
                CardState::Active => "active",
                CardState::Locked => "locked",
                CardState::Closing => "closing",
                CardState::Parked => "parked",
                CardState::Closed => "closed",
            }
            .to_owned(),
            proven: card.proven.map(|proven| ProvenFact {
                balance_fen: proven.balance.get(),
                counter: proven.counter.0,
                at: proven.at,
            }),
            frozen: card.frozen,
            open_orders: open
                .iter()
                .map(|order| OrderFact {
                    order: OrderId(order.order.as_uuid()),
                    amount_fen: order.amount.get(),
                    at: order.created_at,
                })
                .collect(),
            running: self.engine.tasks(&card.se).first().map(|task| task.operation.to_owned()),
        }))
    }
}

fn of_centre(error: ClientError) -> Problem {
    match error {
        ClientError::Refused(problem) => *problem,
        other => Problem::because(ProblemCode::Unavailable, format_args!("The clearing centre: {other}.")),
    }
}
