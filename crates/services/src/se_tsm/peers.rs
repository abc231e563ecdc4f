//! What SP-TSMs tell: results, open and unsubscribe notices; and what they ask: a state.
//!
//! Each report is taken once: repeating it finds its work done and changes nothing.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tsm_api::conversation::{ConversationReply, IfBusy, Outcome, OutcomeDetail, OutcomeResult};
use tsm_api::endpoint::Nothing;
use tsm_api::ids::{OperationId, RequestId, TaskId};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::se_tsm::peer::{
    CardEnd, Notice, OperationKind, OperationResult, PeerGreeting, StateQuery, StateReply,
};
use tsm_domain::card::LockChange;
use tsm_domain::se::{Presence, presence};
use tsm_domain::se_application::{
    Actor, HeldValue, PersoOnSe, PersonalisationNeed, Refusal, SeApplication, SeEvent, SeState, UnlockPolicy,
};
use tsm_domain::subscription::Subscribed;
use tsm_domain::{ConversationId, SeId};
use tsm_iso7816::Aid;
use tsm_storage::se_tsm::{ApplicationOnSe, Intended, Intention, Outcome as Settled, ReportedLock, SeChange};

use super::SeTsm;
use super::access::Caller;
use super::convert::{aid, se_id, state_to_wire};
use super::download::instantiated;
use super::eligibility::Question;
use super::record::with_application;
use super::registration::stop_to_problem;
use super::stop::{Stop, forbidden, stored};
use super::work::{Known, Work, note};
use crate::conversation::{Ending, Session, Start};
use crate::server::Call;

/// GET /peer/v1/self
pub(super) async fn whoami(_tsm: Arc<SeTsm>, call: Call<Caller, Nothing>) -> Result<PeerGreeting, Problem> {
    match call.caller {
        Caller::Peer(provider) => {
            Ok(PeerGreeting { institution: provider.id.to_string(), name: provider.basic.name })
        }
        Caller::Anyone | Caller::Wallet(_) | Caller::Person(_) => {
            Err(ProblemCode::PeerCertificateRequired.into())
        }
    }
}

/// POST /peer/v1/states
pub(super) async fn state(tsm: Arc<SeTsm>, call: Call<Caller, StateQuery>) -> Result<StateReply, Problem> {
    let (se, aid) = tsm.own_application(&call.caller, &call.request.se_id, &call.request.aid).await?;
    // After a hand-over only the provider's word, or a look at the card, says what is on it.
    let open = tsm.store.open_intentions(se).await.map_err(stored)?;
    if open.iter().any(|intention| matches!(intention.what, Intended::HandOver(_))) {
        return Err(ProblemCode::OutcomeUnknown.into());
    }
    tsm.state_reply(se, aid).await
}

/// POST /peer/v1/results
pub(super) async fn result(
    tsm: Arc<SeTsm>,
    call: Call<Caller, OperationResult>,
) -> Result<StateReply, Problem> {
    let report = call.request;
    let (se, aid) = tsm.own_application(&call.caller, &report.se_id, &report.aid).await?;
    let id = ConversationId::from_uuid(report.operation.0);
    let conversation = tsm.store.conversation(id).await.map_err(stored)?;
    if let Some(conversation) = &conversation
        && conversation.se != se
    {
        return Err(ProblemCode::UnknownId.into());
    }
    // A download must have been handed over by us; locks and the like begin at the SP-TSM (B-8.5.4).
    if conversation.is_none() && matches!(report.kind, OperationKind::Download | OperationKind::Delete) {
        return Err(ProblemCode::UnknownId.into());
    }
    tsm.settle_report(se, aid, report).await?;
    tsm.state_reply(se, aid).await
}

/// POST /peer/v1/open-notices
pub(super) async fn open_notice(tsm: Arc<SeTsm>, call: Call<Caller, Notice>) -> Result<StateReply, Problem> {
    let (se, aid) = tsm.own_application(&call.caller, &call.request.se_id, &call.request.aid).await?;
    tsm.notice(se, aid, SeEvent::OpenNotice).await
}

/// POST /peer/v1/unsubscribe-notices
pub(super) async fn unsubscribe_notice(
    tsm: Arc<SeTsm>,
    call: Call<Caller, Notice>,
) -> Result<StateReply, Problem> {
    let (se, aid) = tsm.own_application(&call.caller, &call.request.se_id, &call.request.aid).await?;
    if call.request.end == Some(CardEnd::Returned) {
        // Also when the phone has deleted it long since: the rider had it parked, and wants his money now.
        tsm.migration_ended(se, aid).await.map_err(stop_to_problem)?;
        if !tsm.has(se, aid).await? {
            return tsm.state_reply(se, aid).await;
        }
    }
    tsm.notice(se, aid, SeEvent::Unsubscribed).await
}

impl SeTsm {
    /// The secure element and application that an SP-TSM names; of others' it learns nothing.
    async fn own_application(
        &self,
        caller: &Caller,
        se: &tsm_api::HexBytes,
        wanted: &tsm_api::HexBytes,
    ) -> Result<(SeId, Aid), Problem> {
        let provider = caller.provider_id()?;
        let (se, wanted) = (se_id(se)?, aid(wanted)?);
        let application = self.store.application(wanted).await.map_err(stored)?;
        let own = application.is_some_and(|found| found.value.provider == provider);
        let known = self.store.se(se).await.map_err(stored)?.is_some();
        if own && known { Ok((se, wanted)) } else { Err(ProblemCode::UnknownId.into()) }
    }

    async fn has(&self, se: SeId, aid: Aid) -> Result<bool, Problem> {
        let on_se = self.store.applications_on(se).await.map_err(stored)?;
        Ok(on_se.iter().any(|on_se| on_se.application == aid))
    }

    async fn state_reply(&self, se: SeId, aid: Aid) -> Result<StateReply, Problem> {
        let on_se = self.store.applications_on(se).await.map_err(stored)?;
        let state = on_se.iter().find(|on_se| on_se.application == aid).map(|on_se| on_se.record.state);
        Ok(StateReply { state: state_to_wire(state.unwrap_or(SeState::Ready)) })
    }

    /// Stores a report in the line of the secure element, so that it never meets a conversation half way.
    async fn settle_report(
        self: &Arc<Self>,
        se: SeId,
        aid: Aid,
        report: OperationResult,
    ) -> Result<(), Problem> {
        let tsm = self.clone();
        let start = Start {
            se,
            request: report_number(report.operation, report.kind),
            task: TaskId(self.environment.uuid()),
            operation: "report",
            if_busy: IfBusy::Queue,
            flow: Box::new(move |session| settle(tsm, session, se, aid, report).boxed()),
        };
        match self.engine.start(start).await? {
            ConversationReply::Outcome { outcome, .. } => match outcome.problem {
                None => Ok(()),
                Some(problem) => Err(problem),
            },
            // Another conversation holds the card, and the line is in memory only: the sender keeps the report until
            // it is stored.
            ConversationReply::Queued { .. } => {
                let reason = both("The report waits in line; send it again.", "回执正在排队，请重新发送。");
                Err(Problem::because(ProblemCode::Busy, reason))
            }
            ConversationReply::Steps { .. }
            | ConversationReply::Restart { .. }
            | ConversationReply::Handover { .. } => Err(ProblemCode::Internal.into()),
        }
    }

    /// A notice changes only the platform's record: no command goes to the card (S.1 rows 7 and 10).
    async fn notice(&self, se: SeId, aid: Aid, event: SeEvent) -> Result<StateReply, Problem> {
        let on_se = self.store.applications_on(se).await.map_err(stored)?;
        let on_se =
            on_se.into_iter().find(|on_se| on_se.application == aid).ok_or(ProblemCode::NotInstalled)?;
        if is_done_already(&on_se.record, event) {
            self.after_notice(se, aid, event).await?;
            return self.state_reply(se, aid).await;
        }
        let record = unlocked_for(on_se.record, event).apply(event).map_err(forbidden)?.application;
        let now = self.now();
        let after = ApplicationOnSe { record, changed_at: now, ..on_se };
        let subscriptions = self.store.subscriptions_of(se).await.map_err(stored)?;
        let subscription = subscriptions.into_iter().find(|subscription| {
            subscription.what == Subscribed::Application(aid) && subscription.is_active()
        });
        let subscription = subscription.ok_or(ProblemCode::StateForbids)?;
        let (subscription, word) = match event {
            SeEvent::Unsubscribed => (subscription.cancelled(now), "unsubscribed"),
            _ => (subscription, "opened"),
        };
        let detail = serde_json::json!({ "application": aid.to_string() });
        let notes = vec![note(se, "sp-tsm", word, &detail, now)];
        self.store.change_subscription(subscription, vec![after], notes).await.map_err(stored)?;
        self.after_notice(se, aid, event).await?;
        self.state_reply(se, aid).await
    }

    /// What follows from a notice, however often it comes.
    async fn after_notice(&self, se: SeId, aid: Aid, event: SeEvent) -> Result<(), Problem> {
        match event {
            SeEvent::Unsubscribed => self.migration_left(se, aid).await.map_err(stop_to_problem),
            _ => Ok(()),
        }
    }
}

/// A subscription ends whatever lock the application is under: the provider has closed it, and the lock
/// protects nothing any more (D-7).
fn unlocked_for(record: SeApplication, event: SeEvent) -> SeApplication {
    if (record.state, event) != (SeState::Locked, SeEvent::Unsubscribed) {
        return record;
    }
    let unlocked = SeEvent::Unlocked(Actor::Hall, UnlockPolicy::HallOnly);
    record.apply(unlocked).map_or(record, |transition| transition.application)
}

fn is_done_already(record: &SeApplication, event: SeEvent) -> bool {
    match event {
        SeEvent::OpenNotice => record.state == SeState::Useable,
        SeEvent::Unsubscribed => match record.state {
            SeState::Instantiated => record.perso_on_se != PersoOnSe::Partial,
            // Said again after the application was deleted, which ended the subscription.
            SeState::Ready | SeState::Loaded => true,
            SeState::Personalized | SeState::Useable | SeState::Locked => false,
        },
        _ => false,
    }
}

/// The same report gets the same conversation while it is kept; later its work is found done.
fn report_number(operation: OperationId, kind: OperationKind) -> RequestId {
    let mut bytes = operation.0.into_bytes();
    bytes[15] ^= 0x80 | kind as u8;
    RequestId(uuid::Uuid::from_bytes(bytes))
}

async fn settle(tsm: Arc<SeTsm>, session: Session, se: SeId, aid: Aid, report: OperationResult) -> Ending {
    let mut work = Work::new(tsm, session, se);
    match work.settle_report(aid, &report).await {
        Ok(()) => Outcome::done(OutcomeDetail::Nothing).into(),
        Err(stop) => Outcome::refused(stop_to_problem(stop)).into(),
    }
}

impl Work {
    async fn settle_report(&mut self, aid: Aid, report: &OperationResult) -> Result<(), Stop> {
        let known = Known::load(&self.tsm, self.se).await?;
        let question = Question::load(&self.tsm, aid).await?;
        let on_se = known.on_se(&question.application, self.tsm.now());
        let mut change = SeChange::default();
        self.settle_hand_over(&known, report, &mut change);
        if is_overtaken(&on_se, report) {
            return Ok(());
        }
        if report.result == OutcomeResult::Done {
            let seen = presence(&question.application, &known.record.inventory);
            let record = after_report(on_se.record, report.kind, question.application.unlock, seen)
                .map_err(forbidden)?;
            let version = question.application.version.software.clone();
            change.applications.push(ApplicationOnSe {
                record,
                version,
                changed_at: self.tsm.now(),
                reported_lock: reported_lock(report, &on_se),
                ..on_se
            });
            if report.kind == OperationKind::Download {
                let inventory = with_application(known.record.inventory.clone(), &question.application);
                change.observed = Some((inventory, self.tsm.now()));
            }
            if matches!(report.kind, OperationKind::Download | OperationKind::Personalise) {
                let what = Subscribed::Application(aid);
                let moved = match &report.moved_from {
                    Some(from) => self.moved_subscription(&known, se_id(from)?, what).await?,
                    None => None,
                };
                let subscription = match moved {
                    Some(moved) => Some(moved),
                    None => self.subscription(&known, what, &question.provider.id).await?,
                };
                change.subscriptions.extend(subscription);
            }
        }
        let detail = serde_json::json!({
            "application": aid.to_string(),
            "kind": format!("{:?}", report.kind),
            "result": format!("{:?}", report.result),
        });
        change.notes.push(self.note("reported", &detail));
        self.commit(change).await?;
        match &report.moved_from {
            Some(from) if report.result == OutcomeResult::Done => {
                self.tsm.migration_arrived(se_id(from)?, self.se, aid).await
            }
            _ => Ok(()),
        }
    }

    fn settle_hand_over(&self, known: &Known, report: &OperationResult, change: &mut SeChange) {
        let outcome = match report.result {
            OutcomeResult::Done => Settled::Done,
            OutcomeResult::Refused | OutcomeResult::Failed | OutcomeResult::Cancelled => Settled::NotDone,
            OutcomeResult::Unknown => return,
        };
        let id = ConversationId::from_uuid(report.operation.0);
        let handed = known.open.iter().filter(|intention| {
            intention.conversation == id && matches!(intention.what, Intended::HandOver(_))
        });
        change.intentions.extend(handed.map(|intention| Intention { outcome, ..intention.clone() }));
    }
}

/// A lock or unlock that was sent before another which is recorded.
fn is_overtaken(on_se: &ApplicationOnSe, report: &OperationResult) -> bool {
    match (&on_se.reported_lock, report.number) {
        (Some(last), Some(number)) => number <= last.number,
        _ => false,
    }
}

/// What is known of the application's own lock after a report. A new instance is not locked.
fn reported_lock(report: &OperationResult, on_se: &ApplicationOnSe) -> Option<ReportedLock> {
    let before = on_se.reported_lock;
    let is_new = !matches!(on_se.record.state, SeState::Useable | SeState::Locked);
    let change = match report.kind {
        OperationKind::Lock => LockChange::Lock,
        OperationKind::Unlock => LockChange::Unlock,
        OperationKind::Download | OperationKind::Personalise if is_new => {
            return before.map(|last| ReportedLock { change: LockChange::Unlock, ..last });
        }
        OperationKind::Download
        | OperationKind::Personalise
        | OperationKind::Synchronise
        | OperationKind::Delete => return before,
    };
    let number = report.number.or(before.map(|last| last.number)).unwrap_or(0);
    Some(ReportedLock { change, number })
}

/// The record after an operation that the SP-TSM did, by the rows of table S.1. What is done already stays.
fn after_report(
    record: SeApplication,
    kind: OperationKind,
    unlock: UnlockPolicy,
    seen: Presence,
) -> Result<SeApplication, Refusal> {
    match kind {
        OperationKind::Download | OperationKind::Personalise => {
            let mut record = instantiated(record)?;
            let due = record.state == SeState::Instantiated
                && record.personalisation == PersonalisationNeed::Needed;
            if due {
                record = record.apply(SeEvent::PersonalisationBegun(HeldValue::Settled))?.application;
                record = record.apply(SeEvent::PersonalisationComplete)?.application;
            }
            Ok(record)
        }
        OperationKind::Lock if record.state == SeState::Locked => Ok(record),
        OperationKind::Lock => Ok(record.apply(SeEvent::Locked)?.application),
        OperationKind::Unlock if record.state == SeState::Useable => Ok(record),
        // The platform's own lock, in the registry, is still there.
        OperationKind::Unlock if seen == Presence::Locked => Ok(record),
        // The SP-TSM has asked its own policy; a hall that acts through it counts as one.
        OperationKind::Unlock => {
            let actor = match unlock {
                UnlockPolicy::ClientOnly => Actor::User,
                UnlockPolicy::HallOnly | UnlockPolicy::HallOrClient => Actor::Hall,
            };
            Ok(record.apply(SeEvent::Unlocked(actor, unlock))?.application)
        }
        OperationKind::Synchronise | OperationKind::Delete => Ok(record),
    }
}
