//! Ordering a parked card to this phone, and giving the order up (B-7.6.1.e and f, P-5.5.4.b).
//!
//! The row is durable before the centre is asked, and its number is the claim's: whatever is lost, the same
//! claim is made again. Both phones must be registered to the same number; the SE-TSM vouches for this one's
//! with every session and every consent, and the card's holder is the number under which it was opened.

use std::sync::Arc;

use serde_json::json;
use tsm_api::clearing::closing::{ClaimParked, ClaimedCard};
use tsm_api::client::ClientError;
use tsm_api::endpoint::Nothing;
use tsm_api::ids::{ConversationId as WireConversation, OperationId as WireOperation};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::sp_tsm::migration::{MigrationOrder, MigrationRecord, MigrationState, ParkedCard, ParkedCards};
use tsm_domain::arrival::{Arrival, ArrivalState};
use tsm_domain::card::{CardOrder, CardOrderState, CardRecord, CardState, ClosingProgress};
use tsm_domain::money::ClosingPurpose;
use tsm_domain::{Fen, Msisdn, OperationId, SeId};
use tsm_epurse::CardImage;
use tsm_iso7816::Aid;
use tsm_storage::shared::Note;
use tsm_storage::sp_tsm::{ArrivalOrdered, SpChange, With};

use super::access::{Caller, WalletCaller};
use super::stop::Stop;
use super::{SpTsm, reports};
use crate::names;
use crate::purse::{aid_from_wire, card_to_wire, to_wire};
use crate::server::Call;

/// The caller's parked cards.
pub(super) async fn parked_cards(
    tsm: Arc<SpTsm>,
    call: Call<Caller, Nothing>,
) -> Result<ParkedCards, Problem> {
    let (_, number) = registered(call.caller.wallet()?)?;
    let cards = tsm.parked(&number).await.map_err(Stop::into_problem)?;
    let cards = cards.iter().map(|(card, balance)| ParkedCard {
        aid: card.instance.into(),
        card_number: card.card.to_string(),
        balance_fen: to_wire(*balance),
    });
    Ok(ParkedCards { cards: cards.collect() })
}

/// Orders a parked card to the caller's phone.
pub(super) async fn order_migration(
    tsm: Arc<SpTsm>,
    call: Call<Caller, MigrationOrder>,
) -> Result<MigrationRecord, Problem> {
    let (se, number) = registered(call.caller.wallet()?)?;
    let request = call.request;
    let application = aid_from_wire(&request.aid)?;
    tsm.settings.product(&application).and_then(|product| product.purse()).ok_or(ProblemCode::UnknownId)?;
    let id = names::derived(&["order", "migration", &se.to_string(), &request.request.to_string()]);
    let wanted = Wanted { operation: OperationId::from_uuid(id), se, number, application };
    let arrival = tsm.order_arrival(&wanted, request.card_number.as_deref()).await;
    arrival.map(|arrival| record(&arrival)).map_err(Stop::into_problem)
}

/// Gives an own order up, as long as nothing was sent to the phone.
pub(super) async fn cancel_migration(
    tsm: Arc<SpTsm>,
    call: Call<Caller, Nothing>,
) -> Result<MigrationRecord, Problem> {
    let migration: WireOperation = call.parameter()?;
    let se = call.caller.wallet()?.se;
    let known = tsm.store.arrival(OperationId::from_uuid(migration.0)).await;
    let known = known.map_err(|error| Stop::from(error).into_problem())?;
    let known = known.filter(|arrival| arrival.se == se).ok_or(ProblemCode::UnknownId)?;
    match known.state {
        ArrivalState::Claiming | ArrivalState::Claimed => {
            let ended = tsm.give_up_arrival(&known).await.map_err(Stop::into_problem)?;
            Ok(record(&ended))
        }
        ArrivalState::GivenUp => Ok(record(&known)),
        ArrivalState::Writing | ArrivalState::GivingUp | ArrivalState::Cleared => Err(Problem::because(
            ProblemCode::StateForbids,
            both(
                "The card's data were sent; only the phone can tell whether it holds them.",
                "卡片数据已发出，是否写入只有手机能确定。",
            ),
        )),
        ArrivalState::Opened | ArrivalState::Told => Err(Problem::because(
            ProblemCode::StateForbids,
            both("The card is in use on this phone.", "卡片正在此手机上使用。"),
        )),
    }
}

/// What is ordered.
struct Wanted {
    operation: OperationId,
    se: SeId,
    number: Msisdn,
    application: Aid,
}

/// A wallet whose number the SE-TSM knows.
pub(super) fn registered(wallet: WalletCaller) -> Result<(SeId, Msisdn), Problem> {
    let number = wallet.number.ok_or_else(|| {
        Problem::because(
            ProblemCode::NotAllowed,
            both(
                "A card moves between phones of one registered number.",
                "卡片只能在同一注册号码的手机间迁移。",
            ),
        )
    })?;
    Ok((wallet.se, number))
}

impl SpTsm {
    /// The cards of a number that the centre keeps, with what they hold.
    async fn parked(&self, number: &Msisdn) -> Result<Vec<(CardRecord, Fen)>, Stop> {
        let cards = self.store.cards_of(number).await?;
        let parked = cards.into_iter().filter_map(|card| {
            let closing = card.closing.filter(|closing| closing.purpose == ClosingPurpose::Migration)?;
            match (card.state, closing.progress) {
                (CardState::Parked | CardState::Closed, ClosingProgress::Told(balance)) => {
                    Some((card, balance))
                }
                _ => None,
            }
        });
        Ok(parked.collect())
    }

    async fn order_arrival(&self, wanted: &Wanted, named: Option<&str>) -> Result<Arrival, Stop> {
        let known = match self.store.arrival(wanted.operation).await? {
            Some(known) => Some(known),
            None => self.store.open_arrival(wanted.se, wanted.application).await?,
        };
        let arrival = match known {
            Some(known) if !self.is_for(&known, &wanted.number).await? => {
                return Err(ProblemCode::NotAllowed.into());
            }
            Some(known) => known,
            None => self.new_arrival(wanted, named).await?,
        };
        match arrival.state {
            ArrivalState::Claiming => self.claim(arrival).await.map(|(arrival, _)| arrival),
            _ => Ok(arrival),
        }
    }

    /// Whether a card comes to a phone of this number: that of its claim, or what the holder's number is by now. It
    /// may change while his card is on its way.
    pub(super) async fn is_for(&self, arrival: &Arrival, number: &Msisdn) -> Result<bool, Stop> {
        if arrival.number == *number {
            return Ok(true);
        }
        let holder = self.store.holder(arrival.card).await?;
        Ok(holder.is_some_and(|holder| holder.number == *number))
    }

    async fn new_arrival(&self, wanted: &Wanted, named: Option<&str>) -> Result<Arrival, Stop> {
        let parked = self.parked(&wanted.number).await?;
        let mut fitting = parked.into_iter().map(|(card, _)| card).filter(|card| {
            let is_named = named.is_none_or(|named| card.card.to_string() == named);
            card.instance == wanted.application && is_named
        });
        let card = fitting.next().ok_or_else(|| {
            Problem::because(
                ProblemCode::UnknownId,
                both("No card of this number is parked at the centre.", "清算中心没有寄存此号码的卡片。"),
            )
        })?;
        self.make_room(wanted).await?;
        let arrival = Arrival {
            operation: wanted.operation,
            card: card.card,
            from: card.se,
            se: wanted.se,
            application: wanted.application,
            number: wanted.number.clone(),
            state: ArrivalState::Claiming,
            created_at: self.now(),
        };
        let note = self.note(card.card, "migration-in-ordered", &json!({ "to": wanted.se }));
        let with = With { notes: vec![note], ..With::default() };
        match self.store.order_arrival(arrival, with).await? {
            ArrivalOrdered::Accepted(arrival) => Ok(arrival),
            ArrivalOrdered::Busy(first) => {
                self.tell_second_claim(&first, wanted.se).await?;
                let reason = both(
                    "Another phone is bringing the card to itself; give that up first.",
                    "另一部手机正在迁入该卡，请先放弃。",
                );
                Err(Problem::because(ProblemCode::StateForbids, reason).into())
            }
        }
    }

    /// A phone takes one card of a kind. An order for a new one that was never sent gives way.
    async fn make_room(&self, wanted: &Wanted) -> Result<(), Stop> {
        let Wanted { se, application, .. } = *wanted;
        if self.card_on(se, application).await?.is_some() {
            let reason = both(
                "This phone holds a card of that kind, or has not deleted one.",
                "此手机已有同类卡片，或尚未删除旧卡。",
            );
            return Err(Problem::because(ProblemCode::StateForbids, reason).into());
        }
        let Some(order) = self.store.open_card_order(se, application).await? else { return Ok(()) };
        if order.state != CardOrderState::Accepted {
            let reason = both(
                "A new card is being written to this phone; finish that first.",
                "正在向此手机写入新卡，请先完成。",
            );
            return Err(Problem::because(ProblemCode::StateForbids, reason).into());
        }
        let fence = self.take_link(se, WireConversation(wanted.operation.as_uuid()), "migration in").await?;
        let orders = vec![CardOrder { state: CardOrderState::GivenUp, ..order }];
        let change = SpChange { orders, end: Some(self.end("gave way")), ..SpChange::default() };
        Ok(self.store.commit(fence, change).await?)
    }

    /// Claims the card at the centre, or makes the same claim again, and reads all its data (B-7.6.1.f).
    pub(super) async fn claim(&self, arrival: Arrival) -> Result<(Arrival, CardImage), Stop> {
        let claim = ClaimParked {
            card: card_to_wire(arrival.card),
            se_id: arrival.se.as_bytes().into(),
            operation: WireOperation(arrival.operation.as_uuid()),
        };
        let claimed = match self.links.centre.claim_parked(&claim).await {
            Ok(claimed) => claimed,
            Err(error) => {
                // What the centre refuses was not claimed; what got no answer may have been.
                if arrival.state == ArrivalState::Claiming && is_refusal(&error) {
                    self.store.give_up_arrival(arrival.operation, With::default()).await?;
                }
                return Err(error.to_problem().into());
            }
        };
        let image = self.image_of(&arrival, &claimed)?;
        if arrival.state != ArrivalState::Claiming {
            return Ok((arrival, image));
        }
        let note = self.note(arrival.card, "parked-card-claimed", &json!({ "for": arrival.se }));
        let with = With { notes: vec![note], ..With::default() };
        let claimed = self.store.move_arrival(arrival.operation, ArrivalState::Claimed, with).await?;
        Ok((claimed, image))
    }

    /// The image that the centre kept must be of this card, and say what the centre says.
    fn image_of(&self, arrival: &Arrival, claimed: &ClaimedCard) -> Result<CardImage, Stop> {
        let damaged = |reason: &dyn std::fmt::Display| {
            tracing::error!(card = %arrival.card, %reason, "a parked card's image cannot be used");
            Stop::from(ProblemCode::Internal)
        };
        let image = CardImage::decode(claimed.image.as_bytes()).map_err(|error| damaged(&error))?;
        let state = image.state();
        let says = (state.purse().fen(), state.online().value(), state.offline().value());
        let kept = (claimed.balance_fen, claimed.online_counter, claimed.offline_counter);
        if image.public_information.serial.0 != arrival.card.application_serial() || says != kept {
            return Err(damaged(&"it is not what was parked"));
        }
        Ok(image)
    }

    /// Ends an arrival of which nothing is on the phone, and gives the claim back.
    pub(super) async fn give_up_arrival(&self, arrival: &Arrival) -> Result<Arrival, Stop> {
        let note = self.note(arrival.card, "migration-in-given-up", &json!({ "on": arrival.se }));
        self.release_arrival(arrival, note).await
    }

    /// The same, with the journal's word of who wished so.
    pub(super) async fn release_arrival(&self, arrival: &Arrival, note: Note) -> Result<Arrival, Stop> {
        let release = reports::release_claim(arrival, self.now());
        let with = With { deliveries: vec![release.clone()], notes: vec![note], ..With::default() };
        let ended = self.store.give_up_arrival(arrival.operation, with).await?;
        self.outbox.send_now(&[release]).await;
        Ok(ended)
    }
}

/// Whether the centre itself said no.
fn is_refusal(error: &ClientError) -> bool {
    let later = [ProblemCode::Unavailable, ProblemCode::OutcomeUnknown, ProblemCode::TooManyRequests];
    error.code().is_some_and(|code| !later.contains(&code))
}

/// An arrival, for its rider.
pub(super) fn record(arrival: &Arrival) -> MigrationRecord {
    MigrationRecord {
        migration: WireOperation(arrival.operation.as_uuid()),
        aid: arrival.application.into(),
        card_number: arrival.card.to_string(),
        state: state_to_wire(arrival.state),
        created_at: arrival.created_at,
    }
}

pub(super) const fn state_to_wire(state: ArrivalState) -> MigrationState {
    match state {
        ArrivalState::Claiming | ArrivalState::Claimed => MigrationState::Claimed,
        ArrivalState::Writing => MigrationState::InFlight,
        ArrivalState::Opened | ArrivalState::Told => MigrationState::Done,
        ArrivalState::GivingUp | ArrivalState::Cleared => MigrationState::GivingUp,
        ArrivalState::GivenUp => MigrationState::Cancelled,
    }
}
