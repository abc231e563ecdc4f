//! Bringing a parked card to another phone (B-7.6.1.e to i, P-5.5.4): the opening's path, with the card's own
//! data instead of a new card's.
//!
//! ```text
//! hand-over  the claim is made again, and gives the card's image
//!            writing, durable
//!         -> load, install, personalise from the image, observe; then the purse is read under R-MAC
//!         <- the same to the last byte: opened, durable, with the report to the centre
//! ```
//!
//! From *writing* on the phone may hold a copy that can spend. A break there is settled by the next contact:
//! a purse that holds the card proves it, and has arrived; one that does not is written again. When the rider
//! gives up then, the claim goes back only after the phone's registry showed that the application is gone. Where
//! the issuer's domain has no R-MAC, the SE-TSM looks with its own.

use serde_json::json;
use tracing::warn;
use tsm_api::conversation::{Outcome, OutcomeDetail, Stage};
use tsm_api::ids::OperationId;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::se_tsm::peer::{DomainObservation, OperationKind};
use tsm_card::observe::{ObservationScope, observe};
use tsm_card::open_channel::open_channel;
use tsm_card::purse::{PurseIssue, initialise, purse_keys, read_proven};
use tsm_card::{ProcedureError, Script};
use tsm_domain::arrival::{Arrival, ArrivalState};
use tsm_domain::card::{CardRecord, CardState, ProvenPurse};
use tsm_domain::{Fen, OnlineCounter, SeId};
use tsm_epurse::commands::PurseAvailability;
use tsm_epurse::image::ImagePart;
use tsm_epurse::{CardImage, KeyRole};
use tsm_iso7816::Aid;
use tsm_storage::StorageError;
use tsm_storage::shared::Fence;
use tsm_storage::sp_tsm::{Consent, SpChange, With};

use super::attempts::suspicious;
use super::migration_orders::state_to_wire;
use super::opening::{Closing, Issue, Opening, Origin};
use super::settings::{Product, PurseProduct};
use super::stop::Stop;
use super::{SpTsm, reports};
use crate::conversation::Session;

/// What the phone's purse is, seen beside what was parked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// The same to the last byte.
    Identical,
    /// The same card, which has been spent from since.
    Used,
    /// The same card as it was before: what an earlier stay on this phone has left behind.
    LeftBehind,
    /// Another card, or one that nobody can have used so.
    Contradicts(Vec<ImagePart>),
}

impl SpTsm {
    /// A parked card with everything that makes its purse; its keys are derived again, and are the same.
    pub(super) async fn arriving(
        &self,
        product: &Product,
        purse: &PurseProduct,
        arrival: Arrival,
    ) -> Result<Issue, Stop> {
        let (arrival, image) = self.claim(arrival).await?;
        let known = self.store.card(arrival.card).await?;
        let known = known.ok_or_else(|| StorageError::unknown("card", arrival.card))?;
        let keys = purse_keys(&*self.keys, |role| purse.keys.root(role), &image.public_information)?;
        let groups = PurseIssue::restored(&image, keys).data_groups();
        let card = CardRecord {
            se: arrival.se,
            instance: product.application,
            state: CardState::Issuing,
            lock: None,
            ..known
        };
        Ok(Issue { origin: Origin::Parked(arrival, Box::new(image)), card, groups })
    }

    /// The purse shows under R-MAC what it holds; when that is the parked card, it has arrived.
    pub(super) async fn close_arrival(
        &self,
        session: &mut Session,
        fence: Fence,
        end: Closing<'_>,
        (arrival, parked): (Arrival, &CardImage),
        card: CardRecord,
    ) -> Result<Outcome, Stop> {
        if !self.proves_content(&card)? {
            return self.close_arrival_by_mac1(session, fence, end, (arrival, parked), card).await;
        }
        let request = self.purse_session(&card)?;
        let (status, image) = read_proven(&mut session.card, &*self.keys, &request, card.instance).await?;
        match compare(parked, &image) {
            // A purse that was written works. One that does not was blocked when the card left this phone.
            Seen::Identical if status.availability == PurseAvailability::Blocked => return Err(left_behind()),
            Seen::Identical => {}
            // Since the writing, which this run or one whose end was lost has made durable before: between its
            // last command and the reading a rider may hold his phone to a gate.
            Seen::Used => {}
            Seen::LeftBehind => return Err(left_behind()),
            Seen::Contradicts(parts) => {
                let parts: Vec<_> = parts.iter().map(ToString::to_string).collect();
                let reason = format!("it differs from the parked card in {}", parts.join(", "));
                return self.contradicted(&card, &reason).await;
            }
        }
        let state = image.state();
        let seen = (Fen::new(state.purse().fen().into()), OnlineCounter(state.online().value()));
        self.arrived(fence, end, arrival, card, seen).await
    }

    /// A purse that cannot prove its content proves by MAC1 that it has the card's keys, its balance and its online
    /// counter. What else it holds was written under the domain's C-MAC, which nobody between can change.
    async fn close_arrival_by_mac1(
        &self,
        session: &mut Session,
        fence: Fence,
        end: Closing<'_>,
        (arrival, parked): (Arrival, &CardImage),
        card: CardRecord,
    ) -> Result<Outcome, Stop> {
        let load = self.purse_of(&card)?.keys.of_card(&*self.keys, KeyRole::Load, card.card)?;
        let purpose = self.purpose(card.card, Fen::new(1)).await?;
        let seen = initialise(&mut session.card, &*self.keys, &load, card.instance, purpose).await?;
        let (balance, counter) = (seen.answer.balance, seen.answer.counter);
        let state = parked.state();
        let is_whole = counter == state.online() && balance == state.usable();
        // A purse that this card was emptied out of stands at the same counter, and holds nothing.
        let was_emptied = counter == state.online() && balance.fen() == 0;
        let was_used = counter == state.online() && balance < state.usable();
        if !is_whole {
            if counter < state.online() || was_emptied {
                return Err(left_behind());
            }
            if !was_used {
                let reason = format!("it shows {balance} yuan at online counter {counter}");
                return self.contradicted(&card, &reason).await;
            }
        }
        let seen = (Fen::new(balance.fen().into()), OnlineCounter(counter.value()));
        self.arrived(fence, end, arrival, card, seen).await
    }

    /// The card is in use on its new phone.
    async fn arrived(
        &self,
        fence: Fence,
        end: Closing<'_>,
        arrival: Arrival,
        card: CardRecord,
        (balance, counter): (Fen, OnlineCounter),
    ) -> Result<Outcome, Stop> {
        let now = self.now();
        let proven = Some(ProvenPurse { balance, counter, at: now });
        let detail = json!({ "from": arrival.from, "to": arrival.se, "balance_fen": balance });
        let note = self.note(card.card, "card-arrived", &detail);
        let report = reports::arrived(&card, &arrival, now);
        let end = Closing { moved_from: Some(arrival.from), ..end };
        let change = SpChange {
            cards: vec![CardRecord { state: CardState::Active, proven, ..card }],
            arrivals: vec![Arrival { state: ArrivalState::Opened, ..arrival }],
            notes: vec![note],
            ..SpChange::default()
        };
        self.close(fence, end, change, vec![report]).await
    }

    async fn contradicted(&self, card: &CardRecord, reason: &str) -> Result<Outcome, Stop> {
        warn!(card = %card.card, reason, "a card that was migrated contradicts what was parked");
        self.freeze(card, reason).await?;
        Err(suspicious(reason))
    }

    /// Gives a migration up whose data were sent.
    pub(super) async fn give_up_migration(
        &self,
        session: &mut Session,
        fence: Fence,
        se: SeId,
        application: Aid,
    ) -> Result<Outcome, Stop> {
        let arrival = self.store.open_arrival(se, application).await?.ok_or(ProblemCode::UnknownId)?;
        let state = match arrival.state {
            ArrivalState::Claiming | ArrivalState::Claimed => self.give_up_arrival(&arrival).await?.state,
            ArrivalState::Opened | ArrivalState::Told | ArrivalState::GivenUp => arrival.state,
            ArrivalState::Writing | ArrivalState::GivingUp => {
                session.progress.say(Stage::Observing, 10);
                self.ask_whether_it_arrived(session, fence, arrival).await?
            }
        };
        Ok(Outcome::done(OutcomeDetail::MigrationIn { aid: application.into(), state: state_to_wire(state) }))
    }

    /// A purse that holds the card has arrived after all. One that says that it holds nothing says so without
    /// a MAC, so the application must be gone before the claim is given back.
    async fn ask_whether_it_arrived(
        &self,
        session: &mut Session,
        fence: Fence,
        arrival: Arrival,
    ) -> Result<ArrivalState, Stop> {
        let (se, application, operation) = (arrival.se, arrival.application, arrival.operation);
        let product = self.settings.product(&application).ok_or(ProblemCode::UnknownId)?;
        let purse = product.purse().ok_or(ProblemCode::UnknownId)?;
        let Issue { origin: Origin::Parked(arrival, parked), card, .. } =
            self.arriving(product, purse, arrival).await?
        else {
            return Err(ProblemCode::Internal.into());
        };
        let opening = Opening {
            operation: OperationId(session.conversation.0),
            kind: OperationKind::Personalise,
            se,
            application,
            observation: DomainObservation::default(),
        };
        let end = Closing { opening: &opening, observed: None, moved_from: None };
        match self.close_arrival(session, fence, end, (arrival.clone(), &parked), card).await {
            Ok(_) => return Ok(ArrivalState::Opened),
            Err(Stop::Card(ProcedureError::Status { .. })) => {}
            // An older state is not the card that was to arrive; it has to go all the same.
            Err(Stop::Refused(problem)) if problem.code == ProblemCode::StateForbids => {}
            Err(stop) => return Err(stop),
        }
        let note = self.note(arrival.card, "migration-in-being-given-up", &json!({ "on": se }));
        let with = With { notes: vec![note], ..With::default() };
        let giving_up = self.store.move_arrival(operation, ArrivalState::GivingUp, with).await?;
        session.progress.say(Stage::Observing, 60);
        if self.is_gone(session, product, se).await? {
            return Ok(self.give_up_arrival(&giving_up).await?.state);
        }
        Ok(giving_up.state)
    }

    /// Whether the registry shows under R-MAC that the application is not on the phone.
    async fn is_gone(&self, session: &mut Session, product: &Product, se: SeId) -> Result<bool, Stop> {
        let access = product.access.as_ref().ok_or_else(|| {
            Problem::because(
                ProblemCode::HallOnly,
                both("This card cannot prove its content to a server.", "此卡无法向服务器证实其内容。"),
            )
        })?;
        if !access.level.has_r_mac() {
            return Ok(false);
        }
        let request = access.session(product.domain, se);
        let mut script = Script::new();
        let mut channel = open_channel(&mut session.card, &*self.keys, &request, &mut script).await?;
        let seen = observe(&mut session.card, &mut channel, ObservationScope::Domain, script).await?;
        Ok(seen.proves_absence(&product.application))
    }

    /// The SE-TSM saw the application go, or that it is not there. The arrival that was being given up when it asked
    /// ends with it; a word that was long under way says nothing of a later one.
    pub(super) async fn arrival_is_gone(&self, consent: &Consent) -> Result<(), Stop> {
        let arrival = self.store.open_arrival(consent.se, consent.application).await?;
        let meant = arrival.filter(|arrival| {
            let was_asked = consent.refused.is_none() && arrival.created_at <= consent.at;
            was_asked && arrival.state == ArrivalState::GivingUp
        });
        match meant {
            Some(arrival) => self.give_up_arrival(&arrival).await.map(drop),
            None => Ok(()),
        }
    }
}

/// Nothing is wrong with the card: the phone holds an old copy of it, which has to be deleted before the card
/// can come back.
fn left_behind() -> Stop {
    let reason = both(
        "This phone holds what the card was before it moved; give the migration up and delete that.",
        "此手机上仍有迁移前的旧卡，请放弃迁移并删除旧卡。",
    );
    Problem::because(ProblemCode::StateForbids, reason).into()
}

/// Compares what a purse shows with what was parked. Spending is all that can have happened since: a load
/// needs the issuer.
fn compare(parked: &CardImage, seen: &CardImage) -> Seen {
    let parts = parked.differences(seen);
    if parts.is_empty() {
        return Seen::Identical;
    }
    let by_use = |part: &ImagePart| {
        matches!(
            part,
            ImagePart::Balance
                | ImagePart::OverdraftUsed
                | ImagePart::OfflineCounter
                | ImagePart::Log
                | ImagePart::History
                | ImagePart::TransitRecord(_)
        )
    };
    let (before, after) = (parked.state(), seen.state());
    let spent = after.offline() > before.offline() && after.usable() <= before.usable();
    if spent && parts.iter().all(by_use) {
        return Seen::Used;
    }
    let is_same = !parts.contains(&ImagePart::PublicInformation);
    let is_earlier = after.online() <= before.online()
        && after.offline() <= before.offline()
        && (after.online(), after.offline()) != (before.online(), before.offline());
    if is_same && is_earlier { Seen::LeftBehind } else { Seen::Contradicts(parts) }
}
