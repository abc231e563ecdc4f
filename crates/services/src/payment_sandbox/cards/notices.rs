//! The notice of a debit to the clearing centre (B-7.3.1), repeated until it has been taken or refused.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::error;
use tsm_api::HexBytes;
use tsm_api::clearing::{Consumption, ConsumptionReport, ConsumptionVerdict};
use tsm_api::client::ClearingPeer;
use tsm_api::problem::ProblemCode;
use tsm_domain::money::{CentreWord, PurseAttempt, Tac, TransactionType};
use tsm_domain::{Fen, IncidentId, OrderId};
use tsm_storage::PaymentStore;
use tsm_storage::payment::PaymentRow;
use tsm_storage::shared::{Delivery, Incident};

use super::stop::Stop;
use crate::names;
use crate::outbox::{Carried, delivery};
use crate::purse::{card_time, card_to_wire, to_wire};
use crate::runtime::Environment;

/// The kind of message.
pub(in crate::payment_sandbox) const KIND: &str = "purchase-notice";
/// Its receiver.
const CENTRE: &str = "centre";

/// A notice as it waits in the outbox.
#[derive(Serialize, Deserialize)]
struct Notice {
    order: OrderId,
    number: u32,
    report: ConsumptionReport,
}

/// The notice of a debit that the card has proved.
pub(super) fn notice(
    row: &PaymentRow,
    attempt: &PurseAttempt,
    tac: Tac,
    now: Timestamp,
) -> Result<Delivery, Stop> {
    let begun = &attempt.begun;
    let after = begun.counter.next().ok_or(ProblemCode::Internal)?;
    let at = card_time(attempt.at);
    let told = Consumption {
        card: card_to_wire(begun.card),
        amount_fen: to_wire(row.order.amount),
        balance_fen: to_wire(begun.balance.checked_sub(row.order.amount).unwrap_or(Fen::ZERO)),
        offline_counter: after.0,
        terminal_counter: attempt.sequence,
        transaction_type: TransactionType::Purchase.to_byte(),
        date: HexBytes(at.date.to_bytes().to_vec()),
        time: HexBytes(at.time.to_bytes().to_vec()),
        tac: HexBytes(tac.0.to_vec()),
    };
    let terminal = HexBytes(begun.terminal.to_bcd().to_vec());
    let report = ConsumptionReport { terminal, transactions: vec![told] };
    let (order, number) = (row.order.order, attempt.number);
    Ok(delivery(CENTRE, KIND, &format!("{order}/{number}"), &Notice { order, number, report }, now))
}

/// Carries notices to the centre.
pub(in crate::payment_sandbox) struct Notices {
    pub store: Arc<dyn PaymentStore>,
    pub centre: ClearingPeer,
    pub environment: Environment,
}

impl Notices {
    /// Carries one, and stores what the centre said.
    pub(in crate::payment_sandbox) async fn carry(&self, delivery: &Delivery) -> Carried {
        let Ok(notice) = serde_json::from_str::<Notice>(&delivery.body) else {
            return Carried::Refused(ProblemCode::Internal.into());
        };
        let receipt = match self.centre.consumption(&notice.report).await {
            Ok(receipt) => receipt,
            Err(error) => return Carried::Later(error.to_string()),
        };
        let word = match receipt.verdicts.first() {
            Some(ConsumptionVerdict::Recorded | ConsumptionVerdict::Duplicate) => CentreWord::Taken,
            // The centre waits for what the issuer has to report first.
            Some(verdict @ (ConsumptionVerdict::NotYet | ConsumptionVerdict::UnknownCard)) => {
                return Carried::Later(format!("the centre says: {verdict:?}"));
            }
            Some(
                ConsumptionVerdict::TacWrong
                | ConsumptionVerdict::Contradicts
                | ConsumptionVerdict::Malformed,
            ) => CentreWord::Refused,
            None => return Carried::Later("the centre's receipt is empty".into()),
        };
        let incident = (word == CentreWord::Refused).then(|| self.disputed(&notice, &receipt.verdicts));
        match self.store.debit_was_told(notice.order, notice.number, word, incident).await {
            Ok(()) => Carried::Delivered,
            Err(error) => Carried::Later(error.to_string()),
        }
    }

    /// A card proved a debit to the platform, and the centre does not believe it: the money is not in the books.
    fn disputed(&self, notice: &Notice, verdicts: &[ConsumptionVerdict]) -> Incident {
        let Notice { order, number, .. } = notice;
        let text = format!("the centre refused the debit for order {order}, attempt {number}: {verdicts:?}");
        error!(%order, number, ?verdicts, "the centre refused a debit");
        let id = IncidentId::from_uuid(names::derived(&["disputed-debit", &text]));
        let at = self.environment.now();
        Incident { id, se: None, card: None, kind: "disputed-debit".into(), text, at, closed: None }
    }
}
