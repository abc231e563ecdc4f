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
//! gives up then, the claim goes back only when it is proven that nothing was spent from such a copy:
//!
//! ```text
//! the purse proves that it is the card     it has arrived after all
//! it proves that it is an older one        cleared: it may be deleted, and then the claim goes back
//! the registry shows no application        nobody had it deleted, so it never came: the claim goes back
//! it answers nothing that it can prove     it is written to the end, reads, and has arrived; else nothing ends
//! ```
//!
//! A refusal carries no MAC: a phone that says so for a purse which it has spent from must not have it deleted.
//! Where the issuer's domain has no R-MAC, the SE-TSM looks with its own.

use serde_json::json;
use tracing::warn;
use tsm_api::conversation::{Outcome, OutcomeDetail, Stage};
use tsm_api::ids::OperationId;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::se_tsm::peer::{DomainObservation, OperationKind};
use tsm_api::sp_tsm::peer::HandoverWay;
use tsm_card::observe::{ObservationScope, observe};
use tsm_card::open_channel::open_channel;
use tsm_card::purse::{PurseIssue, initialise, purse_keys, read_proven};
use tsm_card::{ProcedureError, Script};
use tsm_domain::arrival::{Arrival, ArrivalState};
use tsm_domain::card::{CardRecord, CardState, ProvenPurse};
use tsm_domain::se_application::HeldValue;
use tsm_domain::{CardNumber, Fen, OnlineCounter, SeId};
use tsm_epurse::commands::PurseAvailability;
use tsm_epurse::file::ApplicationSerial;
use tsm_epurse::image::ImagePart;
use tsm_epurse::{CardImage, KeyRole};
use tsm_iso7816::Aid;
use tsm_storage::StorageError;
use tsm_storage::shared::Fence;
use tsm_storage::sp_tsm::{Consent, ConsentTo, SpChange};

use super::attempts::suspicious;
use super::migration_orders::state_to_wire;
use super::opening::{Closing, Issue, Opening, Origin, Work, shows};
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
    /// Another card, which was on this phone before.
    Another(ApplicationSerial),
    /// The same card, as nobody can have used it.
    Contradicts(Vec<ImagePart>),
}

/// What the phone's purse has proved.
enum Shown {
    /// It is the parked card, with this balance at this online counter.
    Card(Fen, OnlineCounter),
    /// What was left behind of it or of an earlier card, which can spend nothing.
    LeftBehind,
    /// Either of the two, or nothing that may be deleted.
    Unclear,
    /// Why it can be neither.
    Contradicts(String),
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

    /// Without R-MAC a purse that was spent to nothing and an older one that the card was emptied out of prove the
    /// same. So the first is only written where the platform sees that there is none of the second.
    pub(super) fn check_place(
        &self,
        product: &Product,
        issue: &Issue,
        opening: &Opening,
    ) -> Result<(), Stop> {
        let is_new =
            matches!(&issue.origin, Origin::Parked(arrival, _) if arrival.state != ArrivalState::Writing);
        if !is_new || self.proves_content(&issue.card)? || product.way != HandoverWay::LoadAndPersonalise {
            return Ok(());
        }
        let is_free =
            opening.kind == OperationKind::Download && !shows(&opening.observation, product.application);
        if is_free { Ok(()) } else { Err(left_behind()) }
    }

    /// The purse proves what it holds; when that is the parked card, it has arrived.
    pub(super) async fn close_arrival(
        &self,
        session: &mut Session,
        fence: Fence,
        end: Closing<'_>,
        (arrival, parked): (Arrival, &CardImage),
        card: CardRecord,
    ) -> Result<Outcome, Stop> {
        match self.ask_purse(session, parked, &card).await? {
            Shown::Card(balance, counter) => {
                self.arrived(fence, end, arrival, card, (balance, counter)).await
            }
            Shown::LeftBehind | Shown::Unclear => Err(left_behind()),
            Shown::Contradicts(reason) => self.contradicted(&card, &reason).await,
        }
    }

    async fn ask_purse(
        &self,
        session: &mut Session,
        parked: &CardImage,
        card: &CardRecord,
    ) -> Result<Shown, Stop> {
        if !self.proves_content(card)? {
            return self.ask_mac1(session, parked, card).await;
        }
        let request = self.purse_session(card)?;
        let (status, image) = read_proven(&mut session.card, &*self.keys, &request, card.instance).await?;
        Ok(match compare(parked, &image) {
            // A purse that was written works. One that does not was blocked when the card left this phone.
            Seen::Identical if status.availability == PurseAvailability::Blocked => Shown::LeftBehind,
            // Used since the writing, which this run or one whose end was lost has made durable before: between its
            // last command and the reading a rider may hold his phone to a gate.
            Seen::Identical | Seen::Used => {
                let state = image.state();
                Shown::Card(Fen::new(state.purse().fen().into()), OnlineCounter(state.online().value()))
            }
            Seen::LeftBehind => Shown::LeftBehind,
            Seen::Another(serial) if self.is_over(serial, card.se).await? => Shown::LeftBehind,
            Seen::Another(_) => Shown::Unclear,
            Seen::Contradicts(parts) => {
                let parts: Vec<_> = parts.iter().map(ToString::to_string).collect();
                Shown::Contradicts(format!("it differs from the parked card in {}", parts.join(", ")))
            }
        })
    }

    /// Whether nothing is lost with what is on this phone of another card: that one was closed, or went elsewhere.
    async fn is_over(&self, serial: ApplicationSerial, se: SeId) -> Result<bool, Stop> {
        let Ok(number) = CardNumber::from_application_serial(&serial.0) else { return Ok(false) };
        let known = self.store.card(number).await?;
        Ok(known.is_some_and(|other| other.se != se || other.held_value() == HeldValue::Settled))
    }

    /// A purse that cannot prove its content proves by MAC1 that it has the card's keys, its balance and its online
    /// counter. What else it holds was written under the domain's C-MAC, which nobody between can change.
    async fn ask_mac1(
        &self,
        session: &mut Session,
        parked: &CardImage,
        card: &CardRecord,
    ) -> Result<Shown, Stop> {
        let product = self.settings.product(&card.instance).ok_or(ProblemCode::UnknownId)?;
        let load = self.purse_of(card)?.keys.of_card(&*self.keys, KeyRole::Load, card.card)?;
        let purpose = self.purpose(card.card, Fen::new(1)).await?;
        let seen = initialise(&mut session.card, &*self.keys, &load, card.instance, purpose).await?;
        let (balance, counter) = (seen.answer.balance, seen.answer.counter);
        let state = parked.state();
        let is_at_counter = counter == state.online();
        Ok(if counter < state.online() {
            Shown::LeftBehind
        } else if !is_at_counter || balance > state.usable() {
            Shown::Contradicts(format!("it shows {balance} yuan at online counter {counter}"))
        } else if balance.fen() == 0
            && state.usable().fen() != 0
            && product.way != HandoverWay::LoadAndPersonalise
        {
            // A purse that this card was emptied out of stands at the same counter, and holds nothing. Where the
            // issuer installs, `check_place` saw that there was none.
            Shown::Unclear
        } else {
            Shown::Card(Fen::new(balance.fen().into()), OnlineCounter(counter.value()))
        })
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
            ArrivalState::Cleared => {
                session.progress.say(Stage::Observing, 10);
                let product = self.settings.product(&application).ok_or(ProblemCode::UnknownId)?;
                self.end_if_gone(session, product, arrival).await?
            }
        };
        Ok(Outcome::done(OutcomeDetail::MigrationIn { aid: application.into(), state: state_to_wire(state) }))
    }

    /// A purse that holds the card has arrived after all, and one that proves to be an older one may be deleted.
    /// One that proves nothing is on no phone, as the registry shows, or it is written to the end.
    async fn ask_whether_it_arrived(
        &self,
        session: &mut Session,
        fence: Fence,
        arrival: Arrival,
    ) -> Result<ArrivalState, Stop> {
        let (se, application) = (arrival.se, arrival.application);
        let product = self.settings.product(&application).ok_or(ProblemCode::UnknownId)?;
        let purse = product.purse().ok_or(ProblemCode::UnknownId)?;
        let issue = self.arriving(product, purse, arrival).await?;
        let Origin::Parked(arrival, parked) = &issue.origin else {
            return Err(ProblemCode::Internal.into());
        };
        let opening = Opening {
            operation: OperationId(session.conversation.0),
            kind: OperationKind::Personalise,
            se,
            application,
            observation: DomainObservation::default(),
        };
        let shown = self.ask_purse(session, parked, &issue.card).await;
        let (arrival, shown) = match shown {
            Ok(Shown::Unclear) | Err(Stop::Card(ProcedureError::Status { .. })) => {
                let given_up = self.give_up(fence, arrival, ArrivalState::GivingUp).await?;
                session.progress.say(Stage::Observing, 40);
                let state = self.end_if_gone(session, product, given_up.clone()).await?;
                if state == ArrivalState::GivenUp {
                    return Ok(state);
                }
                session.progress.say(Stage::Personalising, 50);
                (given_up, self.finish_writing(session, product, &issue, &opening).await?)
            }
            shown => (arrival.clone(), shown?),
        };
        match shown {
            Shown::Card(balance, counter) => {
                let end = Closing { opening: &opening, observed: None, moved_from: None };
                self.arrived(fence, end, arrival, issue.card, (balance, counter)).await?;
                Ok(ArrivalState::Opened)
            }
            Shown::LeftBehind => Ok(self.give_up(fence, &arrival, ArrivalState::Cleared).await?.state),
            Shown::Unclear => Ok(arrival.state),
            Shown::Contradicts(reason) => {
                self.contradicted(&issue.card, &reason).await?;
                Ok(arrival.state)
            }
        }
    }

    /// The arrival is being given up, as this contact has found it: a later one, which may be writing, is in the way
    /// of that.
    async fn give_up(&self, fence: Fence, arrival: &Arrival, state: ArrivalState) -> Result<Arrival, Stop> {
        let arrival = Arrival { state, ..arrival.clone() };
        let said = json!({ "on": arrival.se, "cleared": state == ArrivalState::Cleared });
        let change = SpChange {
            arrivals: vec![arrival.clone()],
            notes: vec![self.note(arrival.card, "migration-in-being-given-up", &said)],
            ..SpChange::default()
        };
        self.store.commit(fence, change).await?;
        Ok(arrival)
    }

    /// A purse that is on the phone, and refused to be read, is written once more: it takes its data until it is
    /// used, and one that was used can be read. What it refuses again says nothing.
    async fn finish_writing(
        &self,
        session: &mut Session,
        product: &Product,
        issue: &Issue,
        opening: &Opening,
    ) -> Result<Shown, Stop> {
        let Origin::Parked(_, parked) = &issue.origin else {
            return Err(ProblemCode::Internal.into());
        };
        match self.write_again(session, product, issue, opening).await {
            Ok(()) | Err(Stop::Card(ProcedureError::Status { .. })) => {}
            Err(stop) => return Err(stop),
        }
        match self.ask_purse(session, parked, &issue.card).await {
            Err(Stop::Card(ProcedureError::Status { .. })) => Ok(Shown::Unclear),
            shown => shown,
        }
    }

    async fn write_again(
        &self,
        session: &mut Session,
        product: &Product,
        issue: &Issue,
        opening: &Opening,
    ) -> Result<(), Stop> {
        let access = product.access.as_ref().ok_or(ProblemCode::StateForbids)?;
        let request = access.session(product.domain, opening.se);
        let mut script = Script::new();
        let channel = open_channel(&mut session.card, &*self.keys, &request, &mut script).await?;
        let work = Work {
            application: opening.application,
            package: None,
            observation: &opening.observation,
            groups: &issue.groups,
        };
        work.carry(session, channel, script).await?;
        Ok(())
    }

    /// Gives the claim back when the application is not on the phone.
    async fn end_if_gone(
        &self,
        session: &mut Session,
        product: &Product,
        arrival: Arrival,
    ) -> Result<ArrivalState, Stop> {
        if self.is_gone(session, product, arrival.se).await? {
            return Ok(self.give_up_arrival(&arrival).await?.state);
        }
        Ok(arrival.state)
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
    /// ends with it; a word that was long under way says nothing of a later one, and a deletion nothing of a copy
    /// that was not cleared for it.
    pub(super) async fn arrival_is_gone(&self, consent: &Consent) -> Result<(), Stop> {
        let arrival = self.store.open_arrival(consent.se, consent.application).await?;
        let meant = arrival.filter(|arrival| {
            let was_asked = consent.refused.is_none() && arrival.created_at <= consent.at;
            was_asked
                && match arrival.state {
                    ArrivalState::Cleared => true,
                    ArrivalState::GivingUp => consent.to == ConsentTo::Absence,
                    ArrivalState::Claiming
                    | ArrivalState::Claimed
                    | ArrivalState::Writing
                    | ArrivalState::Opened
                    | ArrivalState::Told
                    | ArrivalState::GivenUp => false,
                }
        });
        match meant {
            Some(arrival) => self.give_up_arrival(&arrival).await.map(drop),
            None => Ok(()),
        }
    }
}

/// Nothing is wrong with the card: the phone holds an old copy of it or an earlier card, which has to be deleted
/// before the card can come.
fn left_behind() -> Stop {
    let reason = both(
        "This phone holds an older card; give the migration up and delete that.",
        "此手机上仍有旧卡，请放弃迁移并删除旧卡。",
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
    let serial = seen.public_information.serial;
    if serial != parked.public_information.serial {
        return Seen::Another(serial);
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
