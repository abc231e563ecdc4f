//! Opening a card after the hand-over (B-7.2, B-8.5.5; P-5.8.4.6.3): load and install what is missing through
//! the issuer's own domain, personalise, observe, close.
//!
//! ```text
//! hand-over  the card's cryptogram is verified
//!            personalisation intended, durable
//!         -> EXTERNAL AUTHENTICATE, INSTALL [for load], LOAD*, INSTALL [for install],
//!            INSTALL [for personalization], STORE DATA*, GET DATA, GET STATUS
//! turn 1  <- all of it under R-MAC; opened, durable, with the reports to centre and SE-TSM
//!         -> outcome
//! ```
//!
//! An interrupted opening keeps its order and its card number; what the card holds already is not sent again.

use std::sync::Arc;

use serde_json::json;
use tracing::info;
use tsm_api::HexBytes;
use tsm_api::conversation::{ApplicationState, Outcome, OutcomeDetail, OutcomeResult, Progress, Stage};
use tsm_api::ids::OperationId;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::se_tsm::peer::{DomainObservation, Notice, ObservedApplication, OperationKind, OperationResult};
use tsm_api::sp_tsm::peer::HandoverWay;
use tsm_card::download::{Download, Downloading};
use tsm_card::install::{Installing, NewInstance};
use tsm_card::observe::{Observation, ObservationScope, Observing, Trust};
use tsm_card::open_channel::{OpeningChannel, open_channel};
use tsm_card::personalise::{DataGroupTemplate, Personalising, Piece, StoreDataForm, pass_through};
use tsm_card::purse::{PurseIssue, initialise, purse_keys};
use tsm_card::replace_domain_keys::SettingPersonalized;
use tsm_card::{ProcedureError, Script, SecureChannel};
use tsm_domain::arrival::{Arrival, ArrivalState};
use tsm_domain::card::{CardOrder, CardOrderState, CardRecord, CardState, ProvenPurse};
use tsm_domain::{Fen, OnlineCounter, SeId};
use tsm_epurse::{CardImage, KeyRole};
use tsm_globalplatform::life_cycle::SecurityDomainLifeCycle;
use tsm_globalplatform::security_level::SecurityLevel;
use tsm_iso7816::{Aid, ResponseApdu};
use tsm_keys::PendingSession;
use tsm_storage::StorageError;
use tsm_storage::shared::Fence;
use tsm_storage::sp_tsm::SpChange;

use super::pre_operation::being_given_up;
use super::settings::{Package, PlainApplication, Product, ProductKind, PurseProduct};
use super::stop::Stop;
use super::words::Word;
use super::{SpTsm, reports};
use crate::conversation::Session;
use crate::purse::aid_from_wire;

/// What was handed over.
pub(super) struct HandedOver {
    pub session: Option<Box<dyn PendingSession>>,
    pub answer: ResponseApdu,
    pub progress: Progress,
    pub opening: Opening,
}

/// Which opening it is.
pub(super) struct Opening {
    pub operation: OperationId,
    pub kind: OperationKind,
    pub se: SeId,
    pub application: Aid,
    /// What the domain holds, as the SE-TSM observed it.
    pub observation: DomainObservation,
}

/// The card that is being opened, with where it comes from.
pub(super) struct Issue {
    pub origin: Origin,
    pub card: CardRecord,
    pub groups: Vec<DataGroupTemplate>,
}

/// Where a card comes from.
pub(super) enum Origin {
    /// It is new.
    Ordered(CardOrder),
    /// It was parked at the centre, which kept all of it.
    Parked(Arrival, Box<CardImage>),
}

/// What is to be written.
enum Content {
    /// A purse.
    Purse(Box<Issue>),
    /// A purse that is open already: nothing is written, it proves itself.
    OpenPurse(Box<CardRecord>),
    /// Data of an application without value, maybe none.
    Plain(Vec<DataGroupTemplate>),
}

impl SpTsm {
    /// The flow after a hand-over.
    pub(super) async fn open(self: Arc<Self>, mut session: Session, handed: HandedOver) -> Outcome {
        let HandedOver { session: pending, answer, progress, opening } = handed;
        let fence = match self.take_link(opening.se, session.conversation, "opening").await {
            Ok(fence) => fence,
            Err(stop) => return stop.into_outcome(),
        };
        session.progress.say(progress.stage, progress.percent);
        let mut script = Script::new();
        let carried = match self.handed_channel(&opening, pending, &answer, &mut script) {
            Ok(channel) => self.carry_opening(&mut session, fence, &opening, channel, script).await,
            Err(stop) => Err(stop),
        };
        self.ended(fence, &opening, carried).await
    }

    /// Personalises what is installed, at the wallet's own request (B-8.5.5): one request more, because the
    /// channel with the domain is opened here.
    pub(super) async fn personalise(
        self: Arc<Self>,
        mut session: Session,
        se: SeId,
        application: Aid,
    ) -> Outcome {
        let fence = match self.take_link(se, session.conversation, "personalise").await {
            Ok(fence) => fence,
            Err(stop) => return stop.into_outcome(),
        };
        let operation = OperationId(session.conversation.0);
        let observation = DomainObservation::default();
        let kind = OperationKind::Personalise;
        let opening = Opening { operation, kind, se, application, observation };
        let carried = self.open_own_channel(&mut session, fence, &opening).await;
        self.ended(fence, &opening, carried).await
    }

    async fn open_own_channel(
        &self,
        session: &mut Session,
        fence: Fence,
        opening: &Opening,
    ) -> Result<Outcome, Stop> {
        let product = self.settings.product(&opening.application).ok_or(ProblemCode::UnknownId)?;
        if let ProductKind::Plain(plain) = &product.kind
            && !plain.commands.is_empty()
        {
            return self.pass_commands_through(session, fence, opening, plain).await;
        }
        let access = product.access.as_ref().ok_or(ProblemCode::StateForbids)?;
        let request = access.session(product.domain, opening.se);
        let mut script = Script::new();
        let channel = open_channel(&mut session.card, &*self.keys, &request, &mut script).await?;
        self.carry_opening(session, fence, opening, channel, script).await
    }

    /// Way one of P-5.8.4.6: the application's own commands, byte for byte. Only its provider can tell what
    /// they did, so nothing of value may rest on their status words.
    async fn pass_commands_through(
        &self,
        session: &mut Session,
        fence: Fence,
        opening: &Opening,
        plain: &PlainApplication,
    ) -> Result<Outcome, Stop> {
        let commands = plain.commands().ok_or(ProblemCode::Internal)?;
        session.progress.say(Stage::Personalising, 30);
        pass_through(&mut session.card, opening.application, commands).await?;
        session.progress.say(Stage::Closing, 95);
        let end = Closing { opening, observed: None, moved_from: None };
        self.close(fence, end, SpChange::default(), Vec::new()).await
    }

    fn handed_channel(
        &self,
        opening: &Opening,
        pending: Option<Box<dyn PendingSession>>,
        answer: &ResponseApdu,
        script: &mut Script,
    ) -> Result<SecureChannel, Stop> {
        let product = self.settings.product(&opening.application).ok_or(ProblemCode::UnknownId)?;
        let pending = pending.ok_or_else(|| {
            Problem::because(
                ProblemCode::StateForbids,
                both("The session was lost in a restart; begin again.", "会话因重启丢失，请重新开始。"),
            )
        })?;
        Ok(OpeningChannel::handed_over(pending, product.domain, answer, script)?)
    }

    async fn ended(&self, fence: Fence, opening: &Opening, carried: Result<Outcome, Stop>) -> Outcome {
        let stop = match carried {
            Ok(outcome) => return outcome,
            Err(stop) => stop,
        };
        let outcome = stop.into_outcome();
        self.report_failure(opening, &outcome).await;
        self.give_link_back(fence, "not opened").await;
        outcome
    }

    async fn carry_opening(
        &self,
        session: &mut Session,
        fence: Fence,
        opening: &Opening,
        channel: SecureChannel,
        script: Script,
    ) -> Result<Outcome, Stop> {
        let product = self.settings.product(&opening.application).ok_or(ProblemCode::UnknownId)?;
        let content = self.content(product, opening.se).await?;
        let package = match (product.way, opening.kind) {
            (HandoverWay::LoadAndPersonalise, OperationKind::Download) => product.package.as_ref(),
            _ => None,
        };
        // An open purse is neither installed nor written again.
        let (package, groups) = match &content {
            Content::Purse(issue) => {
                self.check_place(product, issue, opening)?;
                self.intend(fence, issue).await?;
                (package, &issue.groups[..])
            }
            Content::Plain(groups) => (package, &groups[..]),
            Content::OpenPurse(_) => (None, &[][..]),
        };
        session.progress.say(Stage::Personalising, 80);
        let application = product.application;
        let work = Work { application, package, observation: &opening.observation, groups };
        let observed = work.carry(session, channel, script).await;
        session.progress.say(Stage::Closing, 95);
        let observed = match (observed, &content) {
            // Without R-MAC the registry's word is a hint; the purse proves itself.
            (Ok(observed), Content::Purse(issue)) if !self.proves_content(&issue.card)? => {
                self.prove_purse(session, &issue.card).await?;
                observed
            }
            (Ok(observed), _) => observed,
            // The purse takes no more data once it has been used: then it was opened by the run whose end was
            // lost, which its own word settles.
            (Err(ProcedureError::Status { .. }), Content::Purse(issue)) if issue.was_intended() => {
                // A card that was parked is read to the end below.
                if matches!(issue.origin, Origin::Ordered(_)) {
                    self.prove_open(session, issue).await?;
                }
                opening.observation.clone()
            }
            (Err(error), _) => return Err(error.into()),
        };
        // What is reported to the SE-TSM carries the card's MAC, or is not reported.
        let proves = product.access.as_ref().is_some_and(|access| access.level.has_r_mac());
        let end = Closing { opening, observed: proves.then_some(observed), moved_from: None };
        match content {
            Content::Purse(issue) => match issue.origin {
                Origin::Ordered(order) => self.close_purse(fence, end, order, issue.card).await,
                Origin::Parked(arrival, parked) => {
                    self.close_arrival(session, fence, end, (arrival, &parked), issue.card).await
                }
            },
            Content::OpenPurse(card) => {
                self.prove_purse(session, &card).await?;
                let arrival = self.store.arrival_of(card.card).await?;
                let end = Closing { moved_from: arrival.map(|arrival| arrival.from), ..end };
                self.close(fence, end, SpChange::default(), Vec::new()).await
            }
            Content::Plain(_) => self.close(fence, end, SpChange::default(), Vec::new()).await,
        }
    }

    async fn content(&self, product: &Product, se: SeId) -> Result<Content, Stop> {
        let purse = match &product.kind {
            ProductKind::Purse(purse) => purse,
            ProductKind::Plain(plain) => {
                let groups = plain.data_groups.iter().map(|(identifier, value)| DataGroupTemplate {
                    identifier: *identifier,
                    pieces: vec![Piece::Clear(value.clone())],
                });
                return Ok(Content::Plain(groups.collect()));
            }
        };
        if let Some(arrival) = self.store.open_arrival(se, product.application).await? {
            return self.arriving_content(product, purse, arrival).await;
        }
        if let Some(order) = self.store.open_card_order(se, product.application).await? {
            let known = self.store.card(order.card).await?;
            return match known.as_ref().map(|card| card.state) {
                None | Some(CardState::Issuing) => {
                    Ok(Content::Purse(Box::new(self.issue(product, purse, order, known)?)))
                }
                Some(_) => known
                    .map(|card| Content::OpenPurse(Box::new(card)))
                    .ok_or_else(|| StorageError::unknown("card", "of the order").into()),
            };
        }
        let card = self.card_on(se, product.application).await?;
        card.map(|card| Content::OpenPurse(Box::new(card))).ok_or_else(|| ProblemCode::StateForbids.into())
    }

    async fn arriving_content(
        &self,
        product: &Product,
        purse: &PurseProduct,
        arrival: Arrival,
    ) -> Result<Content, Stop> {
        match arrival.state {
            ArrivalState::Claiming | ArrivalState::Claimed | ArrivalState::Writing => {
                Ok(Content::Purse(Box::new(self.arriving(product, purse, arrival).await?)))
            }
            ArrivalState::GivingUp | ArrivalState::Cleared => Err(being_given_up().into()),
            ArrivalState::Opened | ArrivalState::Told | ArrivalState::GivenUp => {
                let card = self.card_on(arrival.se, arrival.application).await?;
                card.map(|card| Content::OpenPurse(Box::new(card)))
                    .ok_or_else(|| ProblemCode::StateForbids.into())
            }
        }
    }

    /// A card with everything that makes its purse; the keys stay in the key service.
    fn issue(
        &self,
        product: &Product,
        purse: &PurseProduct,
        order: CardOrder,
        known: Option<CardRecord>,
    ) -> Result<Issue, Stop> {
        // The time is the first attempt's, so that every attempt writes the same card.
        let issued_at = known.as_ref().map_or(order.created_at, |card| card.issued_at);
        let public = purse.public_information(order.card, issued_at).map_err(|_| ProblemCode::Internal)?;
        let keys = purse_keys(&*self.keys, |role| purse.keys.root(role), &public)?;
        let issue = PurseIssue::new_card(public, purse.management, purse.algorithm, keys);
        let holder = purse.holder.of(issue.holder, order.number.as_ref());
        let groups = PurseIssue { holder, ..issue }.data_groups();
        let label = format!("{}/{}", purse.keys.owner, purse.keys.label);
        let card = known.unwrap_or(CardRecord {
            card: order.card,
            se: order.se,
            instance: product.application,
            order: order.order,
            keys: label.parse().map_err(|_| ProblemCode::Internal)?,
            key_version: u8::try_from(purse.keys.version).map_err(|_| ProblemCode::Internal)?,
            algorithm: match purse.algorithm {
                tsm_epurse::Algorithm::TripleDes => 0,
                tsm_epurse::Algorithm::Sm4 => 1,
            },
            state: CardState::Issuing,
            proven: None,
            frozen: None,
            closing: None,
            lock: None,
            issued_at,
        });
        Ok(Issue { origin: Origin::Ordered(order), card, groups })
    }

    /// Makes durable that the card is about to be written.
    async fn intend(&self, fence: Fence, issue: &Issue) -> Result<(), Stop> {
        let (orders, arrivals, detail) = match &issue.origin {
            Origin::Ordered(order) => {
                let state = CardOrderState::PersonalisationIntended;
                let order = CardOrder { state, ..order.clone() };
                (vec![order.clone()], Vec::new(), json!({ "order": order.order }))
            }
            Origin::Parked(arrival, _) => {
                let arrival = Arrival { state: ArrivalState::Writing, ..arrival.clone() };
                (Vec::new(), vec![arrival.clone()], json!({ "migration": arrival.operation }))
            }
        };
        let note = self.note(issue.card.card, "personalisation-intended", &detail);
        let cards = vec![issue.card.clone()];
        let change = SpChange { cards, orders, arrivals, notes: vec![note], ..SpChange::default() };
        Ok(self.store.commit(fence, change).await?)
    }

    /// MAC1 of a purse that an earlier run may have opened: its own keys, nothing counted, nothing in it.
    async fn prove_open(&self, session: &mut Session, issue: &Issue) -> Result<(), Stop> {
        info!(card = %issue.card.card, "a purse that takes no more data is asked to prove itself");
        self.prove_purse(session, &issue.card).await
    }

    async fn prove_purse(&self, session: &mut Session, card: &CardRecord) -> Result<(), Stop> {
        let keys = &self.purse_of(card)?.keys;
        let load = keys.of_card(&*self.keys, KeyRole::Load, card.card)?;
        let purpose = self.purpose(card.card, Fen::new(1)).await?;
        initialise(&mut session.card, &*self.keys, &load, card.instance, purpose).await?;
        Ok(())
    }

    async fn close_purse(
        &self,
        fence: Fence,
        end: Closing<'_>,
        order: CardOrder,
        card: CardRecord,
    ) -> Result<Outcome, Stop> {
        let now = self.now();
        let proven = ProvenPurse { balance: Fen::ZERO, counter: OnlineCounter(0), at: now };
        let card = CardRecord { state: CardState::Active, proven: Some(proven), ..card };
        let account = reports::account(&card, now);
        let note = self.note(card.card, "card-opened", &json!({ "order": order.order }));
        let change = SpChange {
            orders: vec![CardOrder { state: CardOrderState::Opened, ..order }],
            cards: vec![card],
            notes: vec![note],
            ..SpChange::default()
        };
        self.close(fence, end, change, vec![account]).await
    }

    /// Makes the end durable with its reports, and sends them at once, so that the wallet's next look at the
    /// SE-TSM shows the application. What does not get through is repeated until it does.
    pub(super) async fn close(
        &self,
        fence: Fence,
        end: Closing<'_>,
        change: SpChange,
        mut deliveries: Vec<tsm_storage::shared::Delivery>,
    ) -> Result<Outcome, Stop> {
        let now = self.now();
        let Opening { operation, kind, se, application, .. } = end.opening;
        let (se_id, aid) = (HexBytes::from(se.as_bytes()), HexBytes::from(*application));
        let result = OperationResult {
            operation: *operation,
            se_id: se_id.clone(),
            aid: aid.clone(),
            kind: *kind,
            result: OutcomeResult::Done,
            problem: None,
            observation: end.observed,
            moved_from: end.moved_from.map(|se| se.as_bytes().into()),
            number: Some(Word::InUse.number(fence)),
        };
        deliveries.push(reports::result(&result, now));
        let number = Some(Word::Opened.number(fence));
        let notice = Notice { operation: *operation, se_id, aid: aid.clone(), end: None, number };
        deliveries.push(reports::open_notice(&notice, now));
        let change = SpChange { deliveries: deliveries.clone(), end: Some(self.end("opened")), ..change };
        self.store.commit(fence, change).await?;
        self.outbox.send_now(&deliveries).await;
        Ok(Outcome::done(OutcomeDetail::Installed { aid, state: ApplicationState::Useable }))
    }

    /// The SE-TSM learns that the operation did not end well; what the card holds is seen at the next contact.
    async fn report_failure(&self, opening: &Opening, outcome: &Outcome) {
        let result = OperationResult {
            operation: opening.operation,
            se_id: opening.se.as_bytes().into(),
            aid: opening.application.into(),
            kind: opening.kind,
            result: outcome.result,
            problem: outcome.problem.clone(),
            observation: None,
            moved_from: None,
            number: None,
        };
        let delivery = reports::result(&result, self.now());
        if let Err(error) = self.store.put_delivery(delivery).await {
            tracing::warn!(%error, "a failure was not reported");
        }
        self.outbox.kick();
    }
}

impl Issue {
    /// Whether an earlier run was about to write this card.
    fn was_intended(&self) -> bool {
        match &self.origin {
            Origin::Ordered(order) => order.state == CardOrderState::PersonalisationIntended,
            Origin::Parked(arrival, _) => arrival.state == ArrivalState::Writing,
        }
    }
}

/// How an opening ends.
pub(super) struct Closing<'a> {
    pub opening: &'a Opening,
    pub observed: Option<DomainObservation>,
    /// The SE that the card has left.
    pub moved_from: Option<SeId>,
}

/// What is sent to the card in one list.
pub(super) struct Work<'a> {
    pub application: Aid,
    pub package: Option<&'a Package>,
    pub observation: &'a DomainObservation,
    pub groups: &'a [DataGroupTemplate],
}

impl Work<'_> {
    pub async fn carry(
        &self,
        session: &mut Session,
        mut channel: SecureChannel,
        mut script: Script,
    ) -> Result<DomainObservation, ProcedureError> {
        // The domain's keys were replaced in a session whose end was lost: only its owner can finish it.
        let finishing = if self.domain_is_unfinished(channel.domain()) {
            Some(SettingPersonalized::add(&mut channel, &mut script)?)
        } else {
            None
        };
        let (download, installation) = self.missing();
        let downloading = match download {
            Some(download) => Some(Downloading::add(&mut channel, &download, &mut script)?),
            None => None,
        };
        let installing = match installation {
            Some(instance) => Some(Installing::add(&mut channel, instance.command(), &mut script)?),
            None => None,
        };
        let application = self.application;
        let personalising = if self.groups.is_empty() {
            None
        } else {
            let form = StoreDataForm::default();
            Some(Personalising::through_domain(&mut channel, application, self.groups, form, &mut script)?)
        };
        let observing = Observing::add(&mut channel, ObservationScope::Domain, &mut script)?;
        let mut answers = script.run(&mut session.card).await?;
        if let Some(finishing) = finishing {
            finishing.take(&mut channel, &mut answers)?;
        }
        if let Some(downloading) = downloading {
            downloading.take(&mut channel, &mut answers)?;
        }
        if let Some(installing) = installing {
            installing.take(&mut channel, &mut answers)?;
        }
        if let Some(personalising) = personalising {
            personalising.take(&mut channel, &mut answers)?;
        }
        let seen = observing.finish(&mut session.card, &mut channel, &mut answers).await?;
        check_installed(&seen, application, channel.level())?;
        Ok(to_wire(&seen))
    }

    fn domain_is_unfinished(&self, domain: Aid) -> bool {
        let entry =
            self.observation.applications.iter().find(|entry| aid_from_wire(&entry.aid) == Ok(domain));
        entry.is_some_and(|entry| {
            [SecurityDomainLifeCycle::Installed, SecurityDomainLifeCycle::Selectable]
                .map(SecurityDomainLifeCycle::value)
                .contains(&entry.life_cycle)
        })
    }

    /// What the card still lacks. The observation is the SE-TSM's; the card refuses what does not fit it.
    fn missing(&self) -> (Option<Download>, Option<NewInstance>) {
        let Some(package) = self.package else { return (None, None) };
        let has_file =
            self.observation.load_files.iter().any(|file| aid_from_wire(file) == Ok(package.load_file));
        let has_instance = shows(self.observation, self.application);
        let download = (!has_file).then(|| Download::new(package.load_file, package.data_block.clone()));
        let instance = (!has_instance).then(|| NewInstance {
            privileges: package.privileges,
            memory: package.memory,
            ..NewInstance::new(package.load_file, package.module, self.application)
        });
        (download, instance)
    }
}

/// Whether an instance was observed.
pub(super) fn shows(observation: &DomainObservation, application: Aid) -> bool {
    observation.applications.iter().any(|entry| aid_from_wire(&entry.aid) == Ok(application))
}

/// The card itself must say that the instance is there, under its MAC where it has one.
fn check_installed(seen: &Observation, application: Aid, level: SecurityLevel) -> Result<(), ProcedureError> {
    let is_trusted = !level.has_r_mac() || seen.applications.trust == Trust::Proven;
    if !is_trusted || seen.application(&application).is_none() {
        return Err(ProcedureError::Channel(format!("the card does not show {application} under its MAC")));
    }
    Ok(())
}

fn to_wire(seen: &Observation) -> DomainObservation {
    DomainObservation {
        load_files: seen.load_files.value.iter().map(|file| file.aid.into()).collect(),
        applications: seen
            .applications
            .value
            .iter()
            .map(|entry| ObservedApplication { aid: entry.aid.into(), life_cycle: entry.life_cycle.value() })
            .collect(),
        free_bytes: seen.resources.as_ref().map(|resources| resources.value.free_non_volatile),
    }
}
