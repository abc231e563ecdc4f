//! Closing a card, for a return or a migration (B-7.5.1.a and b, B-7.6.1.b and c).
//!
//! ```text
//! closing intended, durable            the centre is asked: a frozen card is not closed
//! asked, durable
//!         -> APPLICATION BLOCK; everything is read under R-MAC
//!         <- blocked, and this is all that it holds: parked, durable, with the report to the centre
//! the centre has it                    then what follows: refund, deletion
//! ```
//!
//! A break before *asked* changed nothing. After it only the card knows: the next contact blocks and reads it
//! again, which is no error and gives the same image, or puts it back to use when the rider wishes so and the
//! card proves that it works. A timeout decides nothing, and the phone's word nothing at all.

use serde_json::json;
use tsm_api::clearing::closing::{BeginClosing, ClosingPurpose as WirePurpose, UndoEvidence};
use tsm_api::conversation::Stage;
use tsm_api::ids::OperationId as WireOperation;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_card::purse::{PurseClosing, block_and_read};
use tsm_domain::card::{CardClosing, CardRecord, CardState, ClosingProgress, LockChange, ProvenPurse};
use tsm_domain::money::{ClosingPurpose, TopUpStage};
use tsm_domain::{Fen, OnlineCounter, OperationId, SeId};
use tsm_epurse::{CardImage, KeyRole};
use tsm_iso7816::Aid;
use tsm_keys::SessionRequest;
use tsm_storage::StorageError;
use tsm_storage::shared::{Delivery, Fence, Note};
use tsm_storage::sp_tsm::SpChange;

use super::stop::Stop;
use super::unloading::migrates_at_hall;
use super::words::Word;
use super::{SpTsm, reports};
use crate::conversation::Session;
use crate::purse::card_to_wire;

/// Whose reader the card is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The rider's phone: what it says without the card's MAC is worth nothing.
    Phone,
    /// A hall's own reader, with a person before it.
    Hall,
}

/// A card that is to be closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToClose {
    pub se: SeId,
    pub application: Aid,
    pub purpose: ClosingPurpose,
    pub place: Place,
}

impl SpTsm {
    /// Closes a card, or goes on with a closing that was interrupted. Gives the card, parked.
    pub(super) async fn close_card(
        &self,
        session: &mut Session,
        fence: Fence,
        wanted: ToClose,
    ) -> Result<CardRecord, Stop> {
        let card = self.card_on(wanted.se, wanted.application).await?.ok_or(ProblemCode::UnknownId)?;
        if card.state == CardState::Parked {
            return Ok(card);
        }
        if card.frozen.is_some() {
            return Err(ProblemCode::SuspiciousCard.into());
        }
        if !self.proves_content(&card)? {
            return self.close_by_debit(session, fence, card, wanted).await;
        }
        let request = self.purse_session(&card)?;
        let card = if card.state == CardState::Closing {
            card
        } else {
            self.settle_lock(session, fence, card).await?
        };
        let card = self.begin_or_go_on(session, fence, card, wanted.purpose).await?;
        session.progress.say(Stage::Locking, 40);
        let key = self.purse_of(&card)?.keys.of_card(&*self.keys, KeyRole::ApplicationBlock, card.card)?;
        let read = block_and_read(&mut session.card, &*self.keys, &key, &request, card.instance).await?;
        session.progress.say(Stage::Closing, 90);
        match read {
            PurseClosing::Blocked(image) => self.park(fence, card, &image).await,
            PurseClosing::Open(_) => Err(Problem::because(
                ProblemCode::CardUnproven,
                both(
                    "The card itself says that it is not blocked; continue or cancel.",
                    "卡片表明其未被锁定，请继续或取消。",
                ),
            )
            .into()),
        }
    }

    /// A card that cannot prove its content is emptied online; it migrates at a hall only, where a lock is lifted
    /// with the same visit.
    async fn close_by_debit(
        &self,
        session: &mut Session,
        fence: Fence,
        card: CardRecord,
        wanted: ToClose,
    ) -> Result<CardRecord, Stop> {
        let ToClose { purpose, place, .. } = wanted;
        if purpose == ClosingPurpose::Migration && place == Place::Phone {
            return Err(migrates_at_hall());
        }
        let card = match (card.state, place) {
            (CardState::Locked, Place::Phone) => {
                let reason = both(
                    "The card is locked, and answers to no debit; unlock it first.",
                    "卡片已锁定，无法扣款，请先解锁。",
                );
                return Err(Problem::because(ProblemCode::StateForbids, reason).into());
            }
            (CardState::Locked, Place::Hall) => self.unlock_with_permission(session, fence, card).await?,
            _ => card,
        };
        let card = self.begin_or_go_on(session, fence, card, purpose).await?;
        self.empty_card(session, fence, card, place).await
    }

    /// The session in which the purse proves what it holds. A card that cannot do so is closed at a hall.
    pub(super) fn purse_session(&self, card: &CardRecord) -> Result<SessionRequest, Stop> {
        let product = self.settings.product(&card.instance).ok_or(ProblemCode::UnknownId)?;
        let access = product.access.as_ref().filter(|access| access.level.has_r_mac());
        let access = access.ok_or_else(migrates_at_hall)?;
        Ok(access.session(product.domain, card.se))
    }

    async fn begin_or_go_on(
        &self,
        session: &mut Session,
        fence: Fence,
        card: CardRecord,
        purpose: ClosingPurpose,
    ) -> Result<CardRecord, Stop> {
        let card = match (card.state, card.closing) {
            (CardState::Closing, Some(closing)) if closing.purpose == purpose => card,
            (CardState::Closing, _) => {
                let reason = both(
                    "Another closing of the card was begun; continue or cancel that one.",
                    "该卡已有另一项退卡或迁出，请继续或取消该项。",
                );
                return Err(Problem::because(ProblemCode::StateForbids, reason).into());
            }
            _ => {
                session.progress.say(Stage::Observing, 10);
                self.settle_top_ups(session, fence, &card).await?;
                self.intend_closing(session, fence, &card, purpose).await?
            }
        };
        if card.closing.is_some_and(|closing| closing.progress == ClosingProgress::Intended) {
            self.ask_centre(fence, &card).await?;
            let asked = card.with_progress(ClosingProgress::Asked);
            let note = self.note(card.card, "card-asked-to-block", &json!({}));
            let change = SpChange { cards: vec![asked.clone()], notes: vec![note], ..SpChange::default() };
            self.store.commit(fence, change).await?;
            return Ok(asked);
        }
        Ok(card)
    }

    /// No top-up may be open: one whose outcome is unknown is settled by the card, and one that is paid is
    /// carried out or cancelled first.
    async fn settle_top_ups(
        &self,
        session: &mut Session,
        fence: Fence,
        card: &CardRecord,
    ) -> Result<(), Stop> {
        let open = self.store.open_top_ups(card.card).await?;
        let stage_of = |order: &tsm_storage::sp_tsm::TopUpOrder| order.paid().map(|top_up| top_up.stage);
        let is_unknown = open.iter().any(|order| order.attempt_in_doubt().is_some());
        if card.state == CardState::Active && is_unknown {
            let keys = self.load_keys(card)?;
            self.contact(&mut session.card, fence, card, &keys, Fen::new(1)).await?;
        }
        let open = self.store.open_top_ups(card.card).await?;
        let credited = |stage| matches!(stage, Some(TopUpStage::Loaded(..)));
        if open.iter().all(|order| credited(stage_of(order))) {
            return Ok(());
        }
        let reason = both(
            "A paid top-up is still open; carry it out or cancel it first.",
            "尚有已支付的充值未完成，请先完成或取消。",
        );
        Err(Problem::because(ProblemCode::StateForbids, reason).into())
    }

    async fn intend_closing(
        &self,
        session: &Session,
        fence: Fence,
        card: &CardRecord,
        purpose: ClosingPurpose,
    ) -> Result<CardRecord, Stop> {
        // What a top-up settled just now stays.
        let card = self.store.card(card.card).await?.ok_or(ProblemCode::UnknownId)?;
        let state = card.state.moved_to(CardState::Closing).map_err(StorageError::from)?;
        let closing = CardClosing {
            operation: OperationId::from_uuid(session.conversation.0),
            purpose,
            before: card.state,
            begun_at: self.now(),
            progress: ClosingProgress::Intended,
            end_number: None,
        };
        let note = self.note(card.card, "closing-intended", &json!({ "purpose": purpose }));
        let card = CardRecord { state, closing: Some(closing), ..card };
        let change = SpChange { cards: vec![card.clone()], notes: vec![note], ..SpChange::default() };
        self.store.commit(fence, change).await?;
        Ok(card)
    }

    /// Asks the centre before the card is touched. When it refuses or cannot be reached, nothing has changed
    /// and the card stays in use.
    async fn ask_centre(&self, fence: Fence, card: &CardRecord) -> Result<(), Stop> {
        let closing = closing_of(card)?;
        let request = BeginClosing {
            card: card_to_wire(card.card),
            se_id: card.se.as_bytes().into(),
            purpose: purpose_to_wire(closing.purpose),
            operation: operation_to_wire(closing.operation),
        };
        let Err(error) = self.links.centre.begin_closing(&request).await else { return Ok(()) };
        self.put_back(fence, card, UndoEvidence::NeverSent, None).await?;
        Err(error.to_problem().into())
    }

    /// The card is blocked and proved what it holds.
    pub(super) async fn park(
        &self,
        fence: Fence,
        card: CardRecord,
        image: &CardImage,
    ) -> Result<CardRecord, Stop> {
        self.check_image(&card, image).await?;
        let now = self.now();
        let state = image.state();
        let balance = Fen::new(state.purse().fen().into());
        let proven = ProvenPurse { balance, counter: OnlineCounter(state.online().value()), at: now };
        let parked = card.parked(proven, Word::Closed.number(fence));
        let report = reports::park(&parked, closing_of(&parked)?, image, now);
        let note = self.note(
            card.card,
            "card-blocked-and-read",
            &json!({ "balance_fen": balance, "online": state.online().value(), "offline": state.offline().value() }),
        );
        self.commit_parked(fence, parked, note, report).await
    }

    /// A card that is parked is durable with its report to the centre, which goes out at once.
    pub(super) async fn commit_parked(
        &self,
        fence: Fence,
        parked: CardRecord,
        note: Note,
        report: Delivery,
    ) -> Result<CardRecord, Stop> {
        let change = SpChange {
            cards: vec![parked.clone()],
            notes: vec![note],
            deliveries: vec![report.clone()],
            ..SpChange::default()
        };
        self.store.commit(fence, change).await?;
        self.outbox.send_now(&[report]).await;
        Ok(parked)
    }

    /// Whether the image is of this card, and fits what it proved before.
    async fn check_image(&self, card: &CardRecord, image: &CardImage) -> Result<(), Stop> {
        if image.public_information.serial.0 != card.card.application_serial() {
            let reason = both("The secure element holds another card.", "安全单元上是另一张卡。");
            return Err(Problem::because(ProblemCode::CardUnproven, reason).into());
        }
        let state = image.state();
        let counter = OnlineCounter(state.online().value());
        self.check_amounts(card, Fen::new(state.purse().fen().into()), counter).await
    }

    /// The card is in use again as before: it was never asked to block itself, or has proved that it works.
    pub(super) async fn put_back(
        &self,
        fence: Fence,
        card: &CardRecord,
        evidence: UndoEvidence,
        proven: Option<ProvenPurse>,
    ) -> Result<CardRecord, Stop> {
        let closing = closing_of(card)?;
        let (before, lock) = match evidence {
            UndoEvidence::NeverSent => (closing.before, card.lock),
            // It was unblocked, and with it a lock of the holder's.
            UndoEvidence::NotBlocked { .. } => (CardState::Active, None),
        };
        let state = card.state.moved_to(before).map_err(StorageError::from)?;
        let report = reports::undo_closing(card.card, closing.operation, evidence, self.now());
        let note = self.note(card.card, "closing-undone", &json!({ "closing": closing.operation }));
        let back = CardRecord { state, lock, proven: proven.or(card.proven), ..card.clone() };
        let mut deliveries = vec![report];
        if (closing.before, back.state) == (CardState::Locked, CardState::Active) {
            deliveries.push(self.lock_report(&back, LockChange::Unlock, closing.operation, fence));
        }
        let change =
            SpChange { cards: vec![back.clone()], notes: vec![note], deliveries, ..SpChange::default() };
        self.store.commit(fence, change).await?;
        self.outbox.kick();
        Ok(back)
    }
}

/// The closing of a card that is being closed.
pub(super) fn closing_of(card: &CardRecord) -> Result<CardClosing, Stop> {
    card.closing.ok_or_else(|| ProblemCode::StateForbids.into())
}

pub(super) const fn purpose_to_wire(purpose: ClosingPurpose) -> WirePurpose {
    match purpose {
        ClosingPurpose::Return => WirePurpose::Return,
        ClosingPurpose::Migration => WirePurpose::Migration,
    }
}

pub(super) const fn operation_to_wire(operation: OperationId) -> WireOperation {
    WireOperation(operation.as_uuid())
}
