//! Parking a card that was blocked and read (B-7.5.1.b, B-7.6.1.c), and taps that come after it.
//!
//! The books know a purse by what was reported of it. A card that was read holds less when taps are still on
//! their way: that difference stays on the purse, and each tap finds it there when it comes. It holds more
//! only when the report of a load is on its way, which its online counter tells: then the parking waits for
//! it, and is listed as waiting until the load is there. With every load reported it never holds more; it never
//! holds less once every tap up to its offline counter has come, nor taps beyond that counter: such a card
//! contradicts the books and is frozen, with all its money where it is.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;
use tsm_api::clearing::closing::{ClosingRecord, ParkedCard, ParkingProof as WireProof};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::money::reconciliation::Cause;
use tsm_domain::money::{CardTransaction, Closing, Parking, ParkingProof, TransactionKey, TransactionType};
use tsm_domain::{CardNumber, Fen, IncidentId, OperationId, TerminalNumber};
use tsm_epurse::CardImage;
use tsm_storage::StorageError;
use tsm_storage::clearing::collection::Counted;
use tsm_storage::clearing::{Books, CardBooks};
use tsm_storage::shared::Incident;

use super::Clearing;
use super::access::Institution;
use super::closing::{Decided, operation_from_wire, purpose_from_wire, refused, require_carrier};
use super::entries::no_account;
use crate::names;
use crate::purse::{card_from_wire, se_from_wire};
use crate::server::Call;
use crate::stored;

/// Parks a card.
pub(super) async fn park(
    centre: Arc<Clearing>,
    call: Call<Institution, ParkedCard>,
) -> Result<ClosingRecord, Problem> {
    let Institution(institution, _) = call.caller;
    let report = call.request;
    let card = card_from_wire(&report.card)?;
    centre.check_issuer(&institution, card)?;
    let se = se_from_wire(&report.se_id)?;
    let (operation, purpose) = (operation_from_wire(report.operation), purpose_from_wire(report.purpose));
    let parking = centre.parking(card, &report)?;
    centre.check_parking(card, operation, &parking).await?;
    let detail = json!({
        "balance_fen": parking.balance,
        "online_counter": parking.online,
        "offline_counter": parking.offline,
        "proof": match (&report.proof, &report.image) {
            (WireProof::Read, _) => "read under R-MAC",
            (WireProof::Unloaded { .. }, None) => "debited under MAC3",
            (WireProof::Unloaded { .. }, Some(_)) => "debited under MAC3, and read in a hall",
        },
    });
    let parked = centre
        .step_closing(&institution, card, operation, |row, known| {
            let parked = match known {
                Some(known) => known.park(parking.clone()).map_err(refused)?,
                // It overtook the report that the closing begins.
                None => {
                    require_carrier(row, se)?;
                    let begun = Closing::begin(card, operation, se, purpose, centre.now()).begun();
                    let parked = begun.closing.park(parking.clone()).map_err(refused)?;
                    parked.map(|mut parked| {
                        parked.events.splice(0..0, begun.events.iter().copied());
                        parked
                    })
                }
            };
            Ok(parked.map(|made| Decided::new(made, "card-parked", detail.clone())))
        })
        .await?;
    centre.close_wait(card, operation).await?;
    centre.expect_taps(card, &parking).await?;
    centre.check_closed(card).await?;
    Ok(parked)
}

impl Clearing {
    /// The report in the rules' types. An image must be the card's, and agree with what is said of it.
    fn parking(&self, card: CardNumber, report: &ParkedCard) -> Result<Parking, Problem> {
        let refused =
            |field| Problem::because(ProblemCode::ValueRefused, format_args!("The field is {field}."));
        let proof = match &report.proof {
            WireProof::Read => ParkingProof::Read,
            WireProof::Unloaded { terminal, .. } => {
                let terminal: [u8; 6] = terminal.as_bytes().try_into().map_err(|_| refused("terminal"))?;
                let terminal = TerminalNumber::from_bcd(terminal).map_err(|_| refused("terminal"))?;
                ParkingProof::Unloaded { terminal }
            }
        };
        if proof == ParkingProof::Read && (report.image.is_none() || report.offline_counter.is_none()) {
            return Err(refused("image"));
        }
        let sealed_image = match &report.image {
            None => None,
            Some(image) => {
                let read = CardImage::decode(image.as_bytes()).map_err(|_| refused("image"))?;
                let state = read.state();
                let agrees = read.public_information.serial.0 == card.application_serial()
                    && state.purse().fen() == report.balance_fen
                    && state.online().value() == report.online_counter
                    && Some(state.offline().value()) == report.offline_counter;
                if !agrees {
                    return Err(refused("image"));
                }
                let context = seal_context(card);
                let sealed = self.keys.seal(&self.sealing_key, &context, image.as_bytes());
                let sealed = sealed.map_err(|error| {
                    tracing::error!(%error, "the key service refused");
                    Problem::new(ProblemCode::Internal)
                })?;
                Some(hex::encode(sealed.0))
            }
        };
        Ok(Parking {
            balance: Fen::new(report.balance_fen.into()),
            online: report.online_counter,
            offline: report.offline_counter,
            proof,
            sealed_image,
            at: self.now(),
        })
    }

    /// Whether the card's word fits what is recorded of it. A parking that is booked was checked before.
    async fn check_parking(
        &self,
        card: CardNumber,
        operation: OperationId,
        parking: &Parking,
    ) -> Result<(), Problem> {
        let books = self.card_books(card).await?;
        let booked = books.closings.iter().find(|known| known.operation == operation);
        if booked.is_some_and(|known| known.stage.parking().is_some()) {
            return Ok(());
        }
        let recorded = &books.transactions;
        if let Some(offline) = parking.offline
            && let Some(last) = last_counter(purchases(recorded)).filter(|last| *last > offline)
        {
            let text = format!(
                "a purchase with counter {last} is recorded, and the blocked card proved that it made {offline}"
            );
            return Err(self.contradicted(card, &text).await?);
        }
        if let Some(last) = last_counter(loads(recorded)).filter(|last| *last > parking.online) {
            let text = format!(
                "a load with counter {last} is recorded, and the blocked card proved that it took in {}",
                parking.online
            );
            return Err(self.contradicted(card, &text).await?);
        }
        let shown = books.purse;
        if parking.balance <= shown {
            return Ok(());
        }
        let text = format!("a blocked card proved {} yuan and the books show {shown}", parking.balance);
        if misses_load(&books, parking) {
            let text = format!("{text}; the report of a load before it is missing");
            let id = waiting_incident(card, operation);
            let incident = Incident { id, ..self.incident(card, Cause::PARKING_WAITS, &text) };
            return self.store.record_incident(incident).await.map_err(|error| stored::problem(&error));
        }
        Err(self.contradicted(card, &format!("{text}, with every load reported")).await?)
    }

    /// The loads that a parking waited for were reported.
    async fn close_wait(&self, card: CardNumber, operation: OperationId) -> Result<(), Problem> {
        let why = "the loads before it were reported, and the card is parked";
        let ended = self.end_incident(waiting_incident(card, operation), why).await;
        ended.map_err(|error| stored::problem(&error))
    }

    /// The card proved how many purchases it has made: those that nobody has reported are missing, also when no
    /// later one ever shows it.
    async fn expect_taps(&self, card: CardNumber, parking: &Parking) -> Result<(), Problem> {
        let problem = |error: StorageError| stored::problem(&error);
        let (of, Some(made)) = (Counted::Card(card), parking.offline) else { return Ok(()) };
        if self.store.numbering(of).await.map_err(problem)?.highest() >= u64::from(made) {
            return Ok(());
        }
        self.store.expect_number(of, made.into(), self.now()).await.map_err(problem)
    }

    /// Once every tap that a card on no SE made has come, nothing is left on its purse.
    pub(super) async fn check_closed(&self, card: CardNumber) -> Result<(), Problem> {
        let books = self.card_books(card).await?;
        let Some(offline) = books.blocked_after() else { return Ok(()) };
        if purchases(&books.transactions).count() < usize::from(offline) || books.purse.is_zero() {
            return Ok(());
        }
        let left = books.purse;
        let text = format!("all {offline} purchases are recorded, and {left} yuan more were on the card");
        self.contradicted(card, &text).await.map(drop)
    }

    /// A purchase of a card that is on no SE: whether the card can have made it before it was blocked.
    pub(super) async fn check_late_purchase(&self, key: TransactionKey) -> Result<Option<String>, Problem> {
        let books = self.card_books(key.card).await?;
        let Some(offline) = books.blocked_after() else { return Ok(None) };
        Ok((key.counter > offline).then(|| {
            format!("a purchase has counter {}, and the card was blocked after {offline}", key.counter)
        }))
    }

    pub(super) async fn card_books(&self, card: CardNumber) -> Result<CardBooks, Problem> {
        let books = self.store.card_books(card).await.map_err(|error| stored::problem(&error))?;
        books.ok_or_else(no_account)
    }

    /// A card that contradicts the books: frozen, so that no value moves until somebody has looked.
    pub(super) async fn contradicted(&self, card: CardNumber, text: &str) -> Result<Problem, Problem> {
        tracing::warn!(%card, text, "a card contradicts the books");
        let books = Books {
            notes: vec![self.note(card, "centre", "card-frozen", &json!({ "reason": text }))],
            incidents: vec![self.incident(card, "suspicious-card", text)],
            ..Books::default()
        };
        let row = self.known(card).await?;
        if row.account.freeze.is_none() {
            let frozen = self.store.set_frozen(card, Some(text.into()), books).await;
            frozen.map_err(|error| stored::problem(&error))?;
        }
        Ok(Problem::because(ProblemCode::SuspiciousCard, format_args!("In detail: {text}.")))
    }

    fn incident(&self, card: CardNumber, kind: &str, text: &str) -> Incident {
        Incident {
            id: IncidentId::from_uuid(names::derived(&["incident", kind, card.as_str(), text])),
            se: None,
            card: Some(card),
            kind: kind.into(),
            text: text.into(),
            at: self.now(),
            closed: None,
        }
    }
}

/// Whether a card took in a load that nobody has reported: its online counter counts them, and the debits that
/// emptied it.
fn misses_load(books: &CardBooks, parking: &Parking) -> bool {
    let parkings = books.closings.iter().filter_map(|closing| closing.stage.parking()).chain([parking]);
    let debits = parkings
        .filter(|known| matches!(known.proof, ParkingProof::Unloaded { .. }) && !known.balance.is_zero());
    let mut known: HashSet<u16> = loads(&books.transactions).map(|load| load.key.counter).collect();
    known.extend(debits.map(|debit| debit.online));
    (1..=parking.online).any(|counter| !known.contains(&counter))
}

/// What a sealed image is bound to.
pub(super) fn seal_context(card: CardNumber) -> Vec<u8> {
    [b"parked card ".as_slice(), card.as_str().as_bytes()].concat()
}

/// The incident of a parking that waits for the report of a load.
pub(super) fn waiting_incident(card: CardNumber, operation: OperationId) -> IncidentId {
    let words = ["incident", Cause::PARKING_WAITS, card.as_str(), &operation.to_string()];
    IncidentId::from_uuid(names::derived(&words))
}

/// The recorded transactions that moved the card's offline counter.
fn purchases(recorded: &[CardTransaction]) -> impl Iterator<Item = &CardTransaction> {
    recorded.iter().filter(|known| !known.key.kind.is_online())
}

/// The recorded transactions that moved the card's online counter.
fn loads(recorded: &[CardTransaction]) -> impl Iterator<Item = &CardTransaction> {
    let online = recorded.iter().filter(|known| known.key.kind.is_online());
    online.filter(|known| known.key.kind != TransactionType::OverdraftUpdate)
}

fn last_counter<'a>(counted: impl Iterator<Item = &'a CardTransaction>) -> Option<u16> {
    counted.map(|known| known.key.counter).max()
}
