//! One conversation's durable story: what is known before, what is intended, what the card then proved.

use std::sync::Arc;

use tracing::info;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_card::observe::{Observation, ObservationScope, Observing};
use tsm_card::open_channel::{OpeningChannel, SecureChannel};
use tsm_card::script::{Answers, Script};
use tsm_domain::application::Application;
use tsm_domain::se::{Batch, Inventory, SeRecord};
use tsm_domain::security_domain::DomainOnSe;
use tsm_domain::{ConversationId, SeId};
use tsm_storage::se_tsm::{ApplicationOnSe, Intended, Intention, Outcome, SeChange};
use tsm_storage::shared::{ChainKey, Fence, Note};

use super::SeTsm;
use super::card_access::issuer_session;
use super::record::{Proof, Recorded, believe, mirror, reconcile};
use super::stop::{Intent, Stop};
use crate::conversation::{Ending, Session};

/// A conversation at work on one secure element.
pub(super) struct Work {
    pub tsm: Arc<SeTsm>,
    pub session: Session,
    pub se: SeId,
    intentions: Vec<Intention>,
}

/// All that is recorded of a secure element.
pub(super) struct Known {
    pub record: SeRecord,
    pub batch: Batch,
    pub applications: Vec<ApplicationOnSe>,
    pub domains: Vec<DomainOnSe>,
    pub open: Vec<Intention>,
    pub catalogue: Vec<Application>,
}

impl Known {
    /// Reads it.
    pub(super) async fn load(tsm: &SeTsm, se: SeId) -> Result<Self, Stop> {
        let record = tsm.store.se(se).await?.ok_or(ProblemCode::NotRegistered)?;
        Self::of(tsm, record).await
    }

    /// Reads what belongs to a record.
    pub(super) async fn of(tsm: &SeTsm, record: SeRecord) -> Result<Self, Stop> {
        let batch = tsm.store.batch(&record.batch).await?.ok_or(ProblemCode::BatchUnknown)?;
        Ok(Self {
            batch,
            applications: tsm.store.applications_on(record.se).await?,
            domains: tsm.store.domains_on(record.se).await?,
            open: tsm.store.open_intentions(record.se).await?,
            catalogue: tsm.store.applications().await?.into_iter().map(|known| known.value).collect(),
            record,
        })
    }

    /// The record of an application on this secure element, absent if there is none.
    pub(super) fn on_se(&self, application: &Application, at: jiff::Timestamp) -> ApplicationOnSe {
        let found = self.applications.iter().find(|on_se| on_se.application == application.aid);
        found.cloned().unwrap_or_else(|| ApplicationOnSe {
            application: application.aid,
            version: application.version.software.clone(),
            record: tsm_domain::se_application::SeApplication::absent(
                application.personalisation,
                application.opening,
            ),
            changed_at: at,
            reported_lock: None,
            last_word: None,
            locked_for: None,
        })
    }

    fn recorded(&self) -> Recorded<'_> {
        Recorded {
            se: self.record.se,
            applications: &self.applications,
            domains: &self.domains,
            open: &self.open,
            catalogue: &self.catalogue,
        }
    }
}

/// An issuer-domain channel whose card was observed.
pub(super) struct Observed {
    pub channel: SecureChannel,
    pub observation: Observation,
    /// Boxed, because each step that takes it over would keep room for it while it waits for the wallet.
    pub known: Box<Known>,
}

impl Work {
    pub(super) const fn new(tsm: Arc<SeTsm>, session: Session, se: SeId) -> Self {
        Self { tsm, session, se, intentions: Vec::new() }
    }

    /// The ending of a flow that stopped.
    pub(super) fn stopped(&self, stop: Stop) -> Ending {
        info!(conversation = %self.session.conversation, reason = %stop, "a flow stopped");
        let open = self.intentions.iter().any(|intention| intention.outcome == Outcome::Unknown);
        stop.into_ending(if open { Intent::Open } else { Intent::None })
    }

    /// The right to write about the secure element.
    pub(super) const fn fence(&self) -> Fence {
        Fence {
            se: self.se,
            conversation: ConversationId::from_uuid(self.session.conversation.0),
            epoch: tsm_storage::shared::Epoch(self.session.epoch.0),
        }
    }

    /// Stores a change, and lets go out what it tells others.
    pub(super) async fn commit(&self, change: SeChange) -> Result<(), Stop> {
        let tells = !change.deliveries.is_empty();
        self.tsm.store.commit(self.fence(), change).await?;
        if tells {
            self.tsm.outbox.kick();
        }
        Ok(())
    }

    /// Makes an intention durable, before its commands leave.
    pub(super) async fn intend(&mut self, what: Intended) -> Result<(), Stop> {
        self.intend_with(what, SeChange::default()).await
    }

    /// Makes an intention durable together with a change.
    pub(super) async fn intend_with(&mut self, what: Intended, mut change: SeChange) -> Result<(), Stop> {
        let intention = Intention {
            conversation: ConversationId::from_uuid(self.session.conversation.0),
            number: u32::try_from(self.intentions.len()).unwrap_or(u32::MAX),
            what,
            outcome: Outcome::Unknown,
            at: self.tsm.now(),
        };
        change.intentions.push(intention.clone());
        self.commit(change).await?;
        self.intentions.push(intention);
        Ok(())
    }

    /// Adds to a change that everything intended so far came out so.
    pub(super) fn settle(&mut self, outcome: Outcome, change: &mut SeChange) {
        for intention in self.intentions.iter_mut().filter(|intention| intention.outcome == Outcome::Unknown)
        {
            intention.outcome = outcome;
            change.intentions.retain(|other| {
                (other.conversation, other.number) != (intention.conversation, intention.number)
            });
            change.intentions.push(intention.clone());
        }
    }

    /// An entry of the secure element's audit trail.
    pub(super) fn note(&self, event: &str, detail: &serde_json::Value) -> Note {
        note(self.se, "se-tsm", event, detail, self.tsm.now())
    }

    /// Opens the issuer domain and observes the card in two exchanges, with whatever `with` adds behind the
    /// observation. What the card proved is recorded before anything else happens.
    pub(super) async fn observe(&mut self, known: Known) -> Result<Observed, Stop> {
        let issuer = issuer_session(&known.batch, &self.se)?;
        let mut opening = Script::new();
        let pending = OpeningChannel::begin(&*self.tsm.keys, &issuer, &mut opening)?;
        let mut answers = opening.run(&mut self.session.card).await?;
        let mut script = Script::new();
        let mut channel = pending.authenticate(&mut answers, &mut script)?;
        let observing = Observing::add(&mut channel, ObservationScope::Card, &mut script)?;
        let mut answers = script.run(&mut self.session.card).await?;
        let (observation, known) =
            self.take_observation(observing, &mut channel, &mut answers, known).await?;
        Ok(Observed { channel, observation, known: Box::new(known) })
    }

    /// Takes an observation, believes it or not, and records it.
    pub(super) async fn take_observation(
        &mut self,
        observing: Observing,
        channel: &mut SecureChannel,
        answers: &mut Answers,
        known: Known,
    ) -> Result<(Observation, Known), Stop> {
        let observation = observing.finish(&mut self.session.card, channel, answers).await?;
        let inventory = self.believed(&observation, channel, &known)?;
        let change = reconcile(&known.recorded(), inventory, &self.tsm.environment);
        self.commit(change).await?;
        let known = Known::load(&self.tsm, self.se).await?;
        Ok((observation, known))
    }

    /// The inventory of an observation that is the card's own word, and of this card.
    pub(super) fn believed(
        &self,
        observation: &Observation,
        channel: &SecureChannel,
        known: &Known,
    ) -> Result<Inventory, Problem> {
        let offered = channel.level().has_r_mac();
        believe(
            observation,
            &known.record.inventory,
            if offered { Proof::Offered } else { Proof::NotOffered },
        )?;
        check_identity(observation, &self.se)?;
        Ok(mirror(observation, &known.batch))
    }

    /// The change that an observation at the end of a flow makes.
    pub(super) fn reconciled(&self, known: &Known, inventory: Inventory) -> SeChange {
        reconcile(&known.recorded(), inventory, &self.tsm.environment)
    }
}

/// The card must be the one that the conversation is about.
pub(super) fn check_identity(observation: &Observation, se: &SeId) -> Result<(), Problem> {
    match &observation.se_id {
        Some(seen) if seen.value == *se => Ok(()),
        Some(_) => Err(Problem::because(
            ProblemCode::CardUnproven,
            both("It is another secure element.", "这是另一个安全单元。"),
        )),
        None => Err(Problem::because(
            ProblemCode::CardUnproven,
            both("The card does not name its SE-ID.", "卡片未给出 SE-ID。"),
        )),
    }
}

/// An entry of a secure element's audit trail.
pub(super) fn note(
    se: SeId,
    actor: &str,
    event: &str,
    detail: &serde_json::Value,
    at: jiff::Timestamp,
) -> Note {
    Note {
        chain: ChainKey::Se(se),
        at,
        actor: actor.to_owned(),
        event: event.to_owned(),
        detail: detail.to_string(),
    }
}
