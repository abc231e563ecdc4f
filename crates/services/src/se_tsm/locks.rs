//! Locking and unlocking (P-5.8.4.3, B-8.5.4): SET STATUS for every instance, in a session with the issuer
//! domain.
//!
//! ```text
//! start | SELECT, INITIALIZE UPDATE | EXTERNAL AUTHENTICATE, observe, SET STATUS..., observe | done
//! ```
//!
//! What the loss of a phone has locked is unlocked at its first login after a hall took it off the loss list: no
//! wallet could ask for it, and neither the issuer nor a gate reaches an application that the registry locks.

use std::sync::Arc;

use tracing::warn;
use tsm_api::conversation::{Outcome, OutcomeDetail, Stage};
use tsm_api::problem::ProblemCode;
use tsm_card::ProcedureError;
use tsm_card::lock::{ChangingLocks, LockChange};
use tsm_card::observe::{ObservationScope, Observing};
use tsm_card::open_channel::open_channel;
use tsm_card::script::Script;
use tsm_domain::SeId;
use tsm_domain::se::SeStanding;
use tsm_domain::se_application::{Actor, SeEvent, SeState, UnlockPolicy};
use tsm_iso7816::Aid;
use tsm_storage::se_tsm::{ApplicationOnSe, Intended, Outcome as Settled, SeChange};

use super::SeTsm;
use super::card_access::issuer_session;
use super::convert::state_to_wire;
use super::record::{is_locked_by_provider, locked_instances};
use super::stop::{Stop, forbidden};
use super::work::{Known, Observed, Work};
use crate::conversation::{Ending, Session};

/// Why everything is locked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lockdown {
    /// The secure element was reported lost (P-5.5.2.o).
    Loss,
}

/// What can be locked now.
pub(super) fn lockable(known: &Known) -> Vec<Aid> {
    let useable = known.applications.iter().filter(|on_se| on_se.record.state == SeState::Useable);
    useable.map(|on_se| on_se.application).collect()
}

/// What the loss of the phone has locked, where taking it off the list unlocks it again.
pub(super) fn locked_for_loss(known: &Known, unlock: UnlockPolicy) -> Vec<Aid> {
    // A hall took it off the list.
    if unlock == UnlockPolicy::ClientOnly {
        return Vec::new();
    }
    let is_there = |state| !matches!(state, SeState::Ready | SeState::Loaded);
    let locked = known.applications.iter().filter(|on_se| on_se.locked_for == Some(Actor::Loss));
    locked.filter(|on_se| is_there(on_se.record.state)).map(|on_se| on_se.application).collect()
}

/// Unlocks what the loss of the phone has locked.
pub(super) async fn run_found(tsm: Arc<SeTsm>, session: Session, se: SeId) -> Ending {
    let mut work = Work::new(tsm, session, se);
    match work.unlock_found().await {
        Ok(outcome) => outcome.into(),
        // Nobody is kept from logging in by a lock that his card does not lift; the next login tries again.
        Err(Stop::Card(error @ ProcedureError::Status { .. })) => {
            warn!(%se, %error, "a card does not lift the lock of its loss");
            Outcome::done(OutcomeDetail::Nothing).into()
        }
        Err(stop) => work.stopped(stop),
    }
}

/// Locks everything that can be locked.
pub(super) async fn run_all(tsm: Arc<SeTsm>, session: Session, se: SeId, why: Lockdown) -> Ending {
    let mut work = Work::new(tsm, session, se);
    let targets = match Known::load(&work.tsm, se).await {
        Ok(known) => lockable(&known),
        Err(stop) => return work.stopped(stop),
    };
    let reason = match why {
        Lockdown::Loss => "loss",
    };
    match work.change_locks(LockChange::Lock, targets, Actor::Loss, reason).await {
        Ok(outcome) => outcome.into(),
        Err(stop) => work.stopped(stop),
    }
}

/// Locks or unlocks one application.
pub(super) async fn run(
    tsm: Arc<SeTsm>,
    session: Session,
    se: SeId,
    aid: Aid,
    change: LockChange,
    actor: Actor,
) -> Ending {
    let mut work = Work::new(tsm, session, se);
    match work.change_locks(change, vec![aid], actor, "user").await {
        Ok(outcome) => outcome.into(),
        Err(stop) => work.stopped(stop),
    }
}

impl Work {
    async fn change_locks(
        &mut self,
        change: LockChange,
        targets: Vec<Aid>,
        actor: Actor,
        reason: &str,
    ) -> Result<Outcome, Stop> {
        self.session.progress.say(Stage::Locking, 10);
        let known = Known::load(&self.tsm, self.se).await?;
        let mut after = Vec::new();
        let mut instances = Vec::new();
        for aid in &targets {
            let on_se = known.applications.iter().find(|on_se| on_se.application == *aid);
            let on_se = on_se.ok_or(ProblemCode::NotInstalled)?.clone();
            let application =
                known.catalogue.iter().find(|known| known.aid == *aid).ok_or(ProblemCode::UnknownId)?;
            let event = match change {
                LockChange::Lock => SeEvent::Locked,
                LockChange::Unlock => SeEvent::Unlocked(actor, application.unlock),
            };
            let record = on_se.record.apply(event).map_err(forbidden)?.application;
            let (record, locked_for) = match change {
                LockChange::Lock => (record, Some(actor)),
                // The application's own lock is its provider's to lift.
                LockChange::Unlock if is_locked_by_provider(&on_se) => (on_se.record, None),
                LockChange::Unlock => (record, None),
            };
            instances.extend(application.instances().map(|instance| instance.aid));
            after.push(ApplicationOnSe { record, locked_for, changed_at: self.tsm.now(), ..on_se });
        }
        let issuer = issuer_session(&known.batch, &self.se)?;
        let mut script = Script::new();
        let mut channel = open_channel(&mut self.session.card, &*self.tsm.keys, &issuer, &mut script).await?;
        for aid in &targets {
            match change {
                LockChange::Lock => self.intend_lock(&known, *aid, actor).await?,
                LockChange::Unlock => self.intend(Intended::Unlock(*aid)).await?,
            }
        }
        let before = Observing::add(&mut channel, ObservationScope::Card, &mut script)?;
        let changing = ChangingLocks::add(&mut channel, change, &instances, &mut script)?;
        let behind = Observing::add(&mut channel, ObservationScope::Card, &mut script)?;
        self.session.progress.say(Stage::Locking, 50);
        let mut answers = script.run(&mut self.session.card).await?;
        let seen = before.finish(&mut self.session.card, &mut channel, &mut answers).await?;
        self.believed(&seen, &channel, &known)?;
        changing.take(&mut channel, &mut answers)?;
        let seen = behind.finish(&mut self.session.card, &mut channel, &mut answers).await?;
        let inventory = self.believed(&seen, &channel, &known)?;
        let mut stored = self.reconciled(&known, inventory);
        // The events were checked against the table before; the card has now shown that they happened.
        stored.applications.retain(|on_se| !targets.contains(&on_se.application));
        stored.incidents.clear();
        let last = after.last().map(|on_se| (on_se.application, on_se.record.state));
        stored.applications.extend(after);
        let detail = serde_json::json!({ "applications": targets.iter().map(Aid::to_string).collect::<Vec<_>>(), "reason": reason });
        let event = match change {
            LockChange::Lock => "locked",
            LockChange::Unlock => "unlocked",
        };
        stored.notes.push(self.note(event, &detail));
        self.settle(Settled::Done, &mut stored);
        self.commit(stored).await?;
        let detail = match last {
            Some((aid, state)) => OutcomeDetail::LockChanged { aid: aid.into(), state: state_to_wire(state) },
            None => OutcomeDetail::Nothing,
        };
        Ok(Outcome::done(detail))
    }

    /// Makes durable that an application is about to be locked, and for whom.
    async fn intend_lock(&mut self, known: &Known, aid: Aid, actor: Actor) -> Result<(), Stop> {
        let on_se = known.applications.iter().find(|on_se| on_se.application == aid).cloned();
        let applications = on_se.map(|on_se| ApplicationOnSe { locked_for: Some(actor), ..on_se });
        let change = SeChange { applications: applications.into_iter().collect(), ..SeChange::default() };
        self.intend_with(Intended::Lock(aid), change).await
    }

    /// The card is asked first: an earlier contact whose end was lost may have unlocked some of it.
    async fn unlock_found(&mut self) -> Result<Outcome, Stop> {
        self.session.progress.say(Stage::Observing, 10);
        let known = Known::load(&self.tsm, self.se).await?;
        if known.record.standing == SeStanding::Lost {
            return Err(ProblemCode::OnLossList.into());
        }
        let Observed { mut channel, known, .. } = self.observe(known).await?;
        let targets = locked_for_loss(&known, self.tsm.settings.policy.unlock_after_loss);
        let locked = known.catalogue.iter().filter(|application| targets.contains(&application.aid));
        let instances: Vec<Aid> =
            locked.flat_map(|application| locked_instances(application, &known.record.inventory)).collect();
        if instances.is_empty() {
            return Ok(Outcome::done(OutcomeDetail::Nothing));
        }
        for aid in &targets {
            self.intend(Intended::Unlock(*aid)).await?;
        }
        // With what was just intended, so that the card's answer explains itself.
        let known = Known::load(&self.tsm, self.se).await?;
        let mut script = Script::new();
        let changing = ChangingLocks::add(&mut channel, LockChange::Unlock, &instances, &mut script)?;
        let behind = Observing::add(&mut channel, ObservationScope::Card, &mut script)?;
        self.session.progress.say(Stage::Locking, 50);
        let mut answers = script.run(&mut self.session.card).await?;
        changing.take(&mut channel, &mut answers)?;
        let seen = behind.finish(&mut self.session.card, &mut channel, &mut answers).await?;
        let inventory = self.believed(&seen, &channel, &known)?;
        let mut stored = self.reconciled(&known, inventory);
        let names: Vec<_> = targets.iter().map(Aid::to_string).collect();
        let detail = serde_json::json!({ "applications": names, "reason": "found" });
        stored.notes.push(self.note("unlocked", &detail));
        self.settle(Settled::Done, &mut stored);
        let last = targets.last().copied();
        let after = stored.applications.iter().find(|on_se| Some(on_se.application) == last);
        let state = after.map_or(SeState::Useable, |on_se| on_se.record.state);
        self.commit(stored).await?;
        let changed =
            last.map(|aid| OutcomeDetail::LockChanged { aid: aid.into(), state: state_to_wire(state) });
        Ok(Outcome::done(changed.unwrap_or(OutcomeDetail::Nothing)))
    }
}
