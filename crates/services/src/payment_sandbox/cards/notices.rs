//! The notice of a debit to the clearing centre (B-7.3.1), repeated until it has been taken. What the centre refuses
//! stays disputed until the card has given its proof again, to whomever, or two people there have decided.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::{error, info};
use tsm_api::HexBytes;
use tsm_api::clearing::purchases::ReportedBy;
use tsm_api::clearing::{Consumption, ConsumptionReport, ConsumptionVerdict};
use tsm_api::client::ClearingPeer;
use tsm_api::problem::ProblemCode;
use tsm_domain::money::{CentreWord, PurseAttempt, PurseStage, Tac, TransactionType};
use tsm_domain::{Fen, IncidentId, OperatorId, OrderId};
use tsm_storage::payment::PaymentRow;
use tsm_storage::shared::{Delivery, Incident, IncidentClosed};
use tsm_storage::{PaymentStore, StorageError};

use super::stop::Stop;
use super::unproven;
use crate::names;
use crate::outbox::{Carried, delivery};
use crate::payment_sandbox::faults::CurrentFaults;
use crate::purse::{card_time, card_to_wire, to_wire};
use crate::runtime::Environment;

/// The kind of message.
pub(super) const KIND: &str = "purchase-notice";
/// Its receiver.
pub(super) const CENTRE: &str = "centre";

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
    let (order, number) = (row.order.order, attempt.number);
    let notice = Notice { order, number, report: report_of(row, attempt, Some(tac))? };
    Ok(delivery(CENTRE, KIND, &format!("{order}/{number}"), &notice, now))
}

/// What the centre is told of a debit.
pub(super) fn report_of(
    row: &PaymentRow,
    attempt: &PurseAttempt,
    tac: Option<Tac>,
) -> Result<ConsumptionReport, Stop> {
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
        tac: tac.map(|tac| HexBytes(tac.0.to_vec())),
    };
    let terminal = HexBytes(begun.terminal.to_bcd().to_vec());
    Ok(ConsumptionReport { terminal, transactions: vec![told] })
}

/// Carries notices to the centre.
pub(in crate::payment_sandbox) struct Notices {
    pub store: Arc<dyn PaymentStore>,
    pub centre: ClearingPeer,
    pub environment: Environment,
    pub faults: Arc<CurrentFaults>,
}

impl Notices {
    /// Carries one, and stores what the centre said.
    pub(in crate::payment_sandbox) async fn carry(&self, delivery: &Delivery) -> Carried {
        let carried = match delivery.kind.as_str() {
            unproven::KIND => self.follow(delivery).await,
            _ => self.notify(delivery).await,
        };
        carried.unwrap_or_else(|stop| Carried::Later(format!("{:?}", stop.into_outcome().problem)))
    }

    async fn notify(&self, delivery: &Delivery) -> Result<Carried, Stop> {
        let Ok(notice) = serde_json::from_str::<Notice>(&delivery.body) else {
            return Ok(Carried::Refused(ProblemCode::Internal.into()));
        };
        Ok(match self.dispute(notice.order, notice.number).await? {
            Dispute::None => self.tell(&notice).await,
            Dispute::Ended => Carried::Delivered,
            Dispute::Open => Carried::Later("the centre refused it; the card is asked".into()),
        })
    }

    async fn tell(&self, notice: &Notice) -> Carried {
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
                | ConsumptionVerdict::Unproven
                | ConsumptionVerdict::Contradicts
                | ConsumptionVerdict::Malformed,
            ) => CentreWord::Refused,
            None => return Carried::Later("the centre's receipt is empty".into()),
        };
        let incident = (word == CentreWord::Refused).then(|| self.disputed(notice, &receipt.verdicts));
        match self.store.debit_was_told(notice.order, notice.number, word, incident).await {
            Ok(()) if word == CentreWord::Refused => Carried::Later("the centre refused it".into()),
            Ok(()) => Carried::Delivered,
            Err(error) => Carried::Later(error.to_string()),
        }
    }

    /// How the dispute about an attempt's TAC stands, with what the centre knows by now.
    pub(super) async fn dispute(&self, order: OrderId, number: u32) -> Result<Dispute, Stop> {
        let row = self.store.order(order).await?.ok_or(ProblemCode::UnknownId)?;
        let attempts = row.purse.as_ref().map(|purse| purse.attempts()).unwrap_or_default();
        let attempt = attempts.iter().find(|attempt| attempt.number == number);
        let attempt = attempt.ok_or(ProblemCode::UnknownId)?;
        match attempt.stage {
            PurseStage::Disputed(_) => {}
            PurseStage::Told(_) | PurseStage::Dismissed(_) | PurseStage::Booked => return Ok(Dispute::Ended),
            PurseStage::Intended | PurseStage::Unproven | PurseStage::NotDebited | PurseStage::Debited(_) => {
                return Ok(Dispute::None);
            }
        }
        match self.reported(attempt).await? {
            ReportedBy::You => self.end_dispute(order, number, CentreWord::Taken).await?,
            ReportedBy::Dismissed => self.end_dispute(order, number, CentreWord::Dismissed).await?,
            ReportedBy::Nobody | ReportedBy::Another => return Ok(Dispute::Open),
        }
        Ok(Dispute::Ended)
    }

    /// Ends a dispute, and closes the incident that it left.
    pub(super) async fn end_dispute(
        &self,
        order: OrderId,
        number: u32,
        word: CentreWord,
    ) -> Result<(), Stop> {
        info!(%order, number, ?word, "a disputed debit is settled");
        self.store.debit_was_told(order, number, word, None).await?;
        let by: OperatorId = "platform".parse().expect("a short word is a name");
        let closed = IncidentClosed { by, at: self.environment.now(), note: format!("settled: {word:?}") };
        match self.store.close_incident(incident_of(order, number), closed).await {
            Ok(()) | Err(StorageError::Unknown { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A card proved a debit to the platform, and the centre does not believe it: the money is not in the books.
    fn disputed(&self, notice: &Notice, verdicts: &[ConsumptionVerdict]) -> Incident {
        let Notice { order, number, .. } = notice;
        let text = format!("the centre refused the debit for order {order}, attempt {number}: {verdicts:?}");
        error!(%order, number, ?verdicts, "the centre refused a debit");
        let id = incident_of(*order, *number);
        let at = self.environment.now();
        Incident { id, se: None, card: None, kind: "disputed-debit".into(), text, at, closed: None }
    }
}

/// How a dispute about a TAC stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dispute {
    /// There is none.
    None,
    /// The card has to be asked, or people decide.
    Open,
    /// It is over.
    Ended,
}

fn incident_of(order: OrderId, number: u32) -> IncidentId {
    let words = ["disputed-debit", &order.to_string(), &number.to_string()];
    IncidentId::from_uuid(names::derived(&words))
}
