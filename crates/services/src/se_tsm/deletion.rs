//! Deletion (P-5.8.4.2, B-8.5.3): with the SP-TSM's consent, refused while value remains.
//!
//! ```text
//! start | SELECT, INITIALIZE UPDATE | EXTERNAL AUTHENTICATE, observe, DELETE..., observe | done
//! ```
//!
//! A deletion counts when the card's registry says so under its MAC. An application of value is only
//! deleted on a card that can say so.

use std::sync::Arc;

use tsm_api::conversation::{Outcome, OutcomeDetail, Stage};
use tsm_api::ids::OperationId;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::se_tsm::peer::OperationKind;
use tsm_api::sp_tsm::peer::{PreOperationReply, PreOperationRequest};
use tsm_card::delete::{Deleting, Deletion};
use tsm_card::observe::{ObservationScope, Observing};
use tsm_card::open_channel::open_channel;
use tsm_card::script::Script;
use tsm_domain::SeId;
use tsm_domain::application::{Application, DeletionMode, ValueBearing};
use tsm_domain::provider::Capability;
use tsm_domain::se::{Inventory, MirrorKind, Presence, presence};
use tsm_domain::se_application::{Actor, HeldValue, SeEvent};
use tsm_domain::security_domain::DeletionRule;
use tsm_domain::subscription::Subscribed;
use tsm_iso7816::Aid;
use tsm_storage::se_tsm::{ApplicationOnSe, Intended, Outcome as Settled, SeChange};

use super::SeTsm;
use super::card_access::issuer_session;
use super::convert::{se_to_wire, state_to_wire};
use super::eligibility::Question;
use super::notices;
use super::stop::{Stop, forbidden};
use super::work::{Known, Work};
use crate::conversation::{Ending, Session};

pub(super) async fn run(tsm: Arc<SeTsm>, session: Session, se: SeId, aid: Aid, actor: Actor) -> Ending {
    let mut work = Work::new(tsm, session, se);
    match work.delete(aid, actor).await {
        Ok(outcome) => outcome.into(),
        Err(stop) => work.stopped(stop),
    }
}

/// What will be deleted.
struct Plan {
    deletions: Vec<Deletion>,
    mode: DeletionMode,
    domain: Option<Aid>,
}

impl Work {
    async fn delete(&mut self, aid: Aid, actor: Actor) -> Result<Outcome, Stop> {
        self.session.progress.say(Stage::Observing, 10);
        let known = Known::load(&self.tsm, self.se).await?;
        let question = Question::load(&self.tsm, aid).await?;
        let application = &question.application;
        let on_se = known.applications.iter().find(|on_se| on_se.application == aid);
        let on_se = on_se.ok_or(ProblemCode::NotInstalled)?.clone();
        let plan = plan(&known.record.inventory, &question);
        if plan.deletions.is_empty() {
            return Err(ProblemCode::NotInstalled.into());
        }
        let held = self.consent(&question, &known).await?;
        let policy = self.tsm.settings.policy.deletion_while_locked;
        let event = match plan.mode {
            DeletionMode::Full => SeEvent::FileDeleted(actor, held, policy),
            DeletionMode::InstanceOnly => SeEvent::InstanceDeleted(actor, held, policy),
        };
        // A residue of a download that broke off has rows of its own; everything else obeys table S.1.
        let after = match on_se.record.apply(event) {
            Ok(transition) => transition.application,
            Err(refusal) => {
                on_se
                    .record
                    .apply(SeEvent::ResidueDeleted)
                    .map_err(|_| Stop::Refused(refusal_to_problem(&refusal)))?
                    .application
            }
        };
        let issuer = issuer_session(&known.batch, &self.se)?;
        let mut script = Script::new();
        let mut channel = open_channel(&mut self.session.card, &*self.tsm.keys, &issuer, &mut script).await?;
        if application.value == ValueBearing::StoredValue && !channel.level().has_r_mac() {
            return Err(forbidden(both(
                "This card cannot prove a deletion; go to a staffed hall.",
                "此卡无法证实删除，请前往有人值守的营业厅。",
            ))
            .into());
        }
        self.intend(Intended::Delete(aid, plan.mode)).await?;
        self.session.progress.say(Stage::Deleting, 50);
        let before = Observing::add(&mut channel, ObservationScope::Card, &mut script)?;
        let deleting = Deleting::add(&mut channel, &plan.deletions, &mut script)?;
        let behind = Observing::add(&mut channel, ObservationScope::Card, &mut script)?;
        let mut answers = script.run(&mut self.session.card).await?;
        let seen = before.finish(&mut self.session.card, &mut channel, &mut answers).await?;
        self.believed(&seen, &channel, &known)?;
        deleting.take(&mut channel, &mut answers)?;
        let seen = behind.finish(&mut self.session.card, &mut channel, &mut answers).await?;
        let inventory = self.believed(&seen, &channel, &known)?;
        let free_bytes = inventory.free.data;
        check_gone(application, &plan, &inventory)?;
        let after = ApplicationOnSe { record: after, changed_at: self.tsm.now(), ..on_se };
        self.record_deletion(&known, &plan, inventory, after.clone()).await?;
        Ok(Outcome::done(OutcomeDetail::Deleted {
            aid: aid.into(),
            state: state_to_wire(after.record.state),
            free_bytes,
        }))
    }

    /// Asks the SP-TSM, which alone knows whether value remains (B-8.5.3.b).
    async fn consent(&self, question: &Question, known: &Known) -> Result<HeldValue, Stop> {
        let (application, provider) = (&question.application, &question.provider);
        if provider.is_operator() && application.value == ValueBearing::NoValue {
            return Ok(HeldValue::None);
        }
        provider.may(Capability::Delete).map_err(|refusal| {
            Stop::Refused(Problem::because(ProblemCode::ProviderNotApproved, format_args!("({refusal})")))
        })?;
        let request = PreOperationRequest {
            operation: OperationId(self.session.conversation.0),
            kind: OperationKind::Delete,
            se_id: se_to_wire(&self.se),
            aid: application.aid.into(),
            domain_aid: application.domain.into(),
            msisdn: known.record.binding.as_ref().map(|binding| binding.number.as_str().to_owned()),
            order: None,
        };
        let client = self.tsm.sp_tsms.of(provider).await?;
        match client.pre_operation(&request).await.map_err(|error| error.to_problem())? {
            PreOperationReply::Allowed { .. } => Ok(match application.value {
                ValueBearing::NoValue => HeldValue::None,
                ValueBearing::StoredValue => HeldValue::Settled,
            }),
            PreOperationReply::Refused { problem } => Err(Stop::Refused(problem)),
        }
    }

    async fn record_deletion(
        &mut self,
        known: &Known,
        plan: &Plan,
        inventory: Inventory,
        after: ApplicationOnSe,
    ) -> Result<(), Stop> {
        let aid = after.application;
        let mut change: SeChange = self.reconciled(known, inventory);
        change.applications.retain(|on_se| on_se.application != aid);
        change.incidents.clear();
        change.applications.push(after);
        let now = self.tsm.now();
        for subscription in self.tsm.store.subscriptions_of(self.se).await? {
            let ends = match subscription.what {
                Subscribed::Application(application) => application == aid,
                Subscribed::Domain(domain) => plan.domain == Some(domain),
            };
            if ends {
                change.subscriptions.push(subscription.deleted(plan.mode, now));
            }
        }
        let detail =
            serde_json::json!({ "application": aid.to_string(), "mode": format!("{:?}", plan.mode) });
        change.notes.push(self.note("deleted", &detail));
        self.settle(Settled::Done, &mut change);
        // The SP-TSM hears of it (B-8.5.3.d), at once or when it can.
        let notices = change
            .intentions
            .iter()
            .filter_map(|intention| notices::deleted(self.se, intention, &known.catalogue, now));
        change.deliveries = notices.collect();
        let deliveries = change.deliveries.clone();
        self.tsm.store.commit(self.fence(), change).await?;
        self.tsm.outbox.send_now(&deliveries).await;
        Ok(())
    }
}

/// Instances first, then load files that nobody else uses, then the domain where its rule says so.
fn plan(inventory: &Inventory, question: &Question) -> Plan {
    let application = &question.application;
    let own: Vec<Aid> = application.instances().map(|instance| instance.aid).collect();
    let on_card = |aid: &Aid| inventory.entry(aid).is_some();
    let mut deletions: Vec<Deletion> =
        own.iter().filter(|aid| on_card(aid)).map(|aid| Deletion::object(*aid)).collect();
    let shared = |file: &Aid| {
        let others = inventory.entries.iter().filter(|entry| entry.load_file == Some(*file));
        others.into_iter().any(|entry| !own.contains(&entry.aid))
    };
    let kept = application.load_files.iter().any(|file| shared(&file.aid) || !file.memory.can_be_deleted());
    // One load file with instances of others, or in ROM: only the instance goes (P-5.8.4.2.1.c, 5.8.4.2.2.b).
    let mode = if kept { DeletionMode::InstanceOnly } else { application.deletion_mode };
    if mode == DeletionMode::InstanceOnly {
        return Plan { deletions, mode, domain: None };
    }
    let files = application.load_files.iter().rev().filter(|file| on_card(&file.aid));
    deletions.extend(files.map(|file| Deletion::object(file.aid)));
    let domain = question.domain.as_ref().filter(|domain| {
        let others = inventory.belonging_to(&domain.aid).filter(|entry| {
            !own.contains(&entry.aid) && application.load_files.iter().all(|file| file.aid != entry.aid)
        });
        domain.deletion == DeletionRule::WithLastApplication
            && inventory.entry(&domain.aid).is_some_and(|entry| entry.kind == MirrorKind::SecurityDomain)
            && others.count() == 0
    });
    let domain = domain.map(|domain| domain.aid);
    deletions.extend(domain.map(Deletion::object));
    Plan { deletions, mode, domain }
}

fn check_gone(application: &Application, plan: &Plan, inventory: &Inventory) -> Result<(), Problem> {
    let seen = presence(application, inventory);
    let gone = match plan.mode {
        DeletionMode::Full => seen == Presence::Absent,
        DeletionMode::InstanceOnly => matches!(seen, Presence::Loaded | Presence::Absent),
    };
    if gone {
        return Ok(());
    }
    Err(Problem::because(
        ProblemCode::CardUnproven,
        both("The card's registry still shows the application.", "卡片登记表中仍有该应用。"),
    ))
}

fn refusal_to_problem(refusal: &tsm_domain::se_application::Refusal) -> Problem {
    use tsm_domain::se_application::Refusal;
    let code = match refusal {
        Refusal::HoldsValue(_) | Refusal::ValueUnknown => ProblemCode::ValueRemains,
        Refusal::UnsubscribeFirst | Refusal::AwaitsOpening => ProblemCode::MustUnsubscribe,
        Refusal::NotInTable { .. }
        | Refusal::NeedsNoPersonalisation
        | Refusal::NeedsNoOpening
        | Refusal::UnlockAtHall
        | Refusal::UnlockWithClient
        | Refusal::UnlockFirst
        | Refusal::RomPreset => ProblemCode::StateForbids,
    };
    Problem::because(code, format_args!("({refusal})"))
}
