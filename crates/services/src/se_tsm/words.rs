//! What the word of an SP-TSM does to the record: it is taken in the line of the secure element, so that it never
//! meets a conversation half way, and in the order in which the words were said, in whichever order they arrive.
//!
//! A word changes the platform's record only: no command goes to the card (S.1 rows 7 and 10).

use std::sync::Arc;

use futures_util::FutureExt as _;
use tsm_api::conversation::{ConversationReply, IfBusy, Outcome, OutcomeDetail, OutcomeResult};
use tsm_api::ids::{RequestId, TaskId};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::se_tsm::peer::{CardEnd, Notice, OperationKind, OperationResult};
use tsm_domain::card::LockChange;
use tsm_domain::se::{Presence, presence};
use tsm_domain::se_application::{
    Actor, HeldValue, PersoOnSe, PersonalisationNeed, Refusal, SeApplication, SeEvent, SeState, UnlockPolicy,
};
use tsm_domain::subscription::Subscribed;
use tsm_domain::{ConversationId, SeId};
use tsm_iso7816::Aid;
use tsm_storage::se_tsm::{ApplicationOnSe, Intended, Intention, Outcome as Settled, SeChange};

use super::SeTsm;
use super::convert::se_id;
use super::download::instantiated;
use super::eligibility::Question;
use super::record::with_application;
use super::registration::stop_to_problem;
use super::stop::{Stop, forbidden};
use super::work::{Known, Work};
use crate::conversation::{Ending, Session, Start};
use crate::names;

/// What an SP-TSM says about an application on a secure element.
pub(super) enum Word {
    /// How an operation ended.
    Result(OperationResult),
    /// It is opened for use.
    Opened(Notice),
    /// Its subscription has ended.
    Unsubscribed(Notice),
}

impl Word {
    fn number(&self) -> Option<u64> {
        match self {
            Self::Result(report) => report.number,
            Self::Opened(notice) | Self::Unsubscribed(notice) => notice.number,
        }
    }

    /// The same word gets the same conversation while it is kept; later its work is found done.
    fn request(&self) -> RequestId {
        let (operation, what) = match self {
            Self::Result(report) => (report.operation, format!("{:?}", report.kind)),
            Self::Opened(notice) => (notice.operation, "opened".to_owned()),
            Self::Unsubscribed(notice) => (notice.operation, format!("unsubscribed {:?}", notice.end)),
        };
        RequestId(names::derived(&["word", &operation.to_string(), &what]))
    }
}

impl SeTsm {
    /// Takes a word, unless a later one about the application is taken already.
    pub(super) async fn take_word(self: &Arc<Self>, se: SeId, aid: Aid, word: Word) -> Result<(), Problem> {
        let tsm = self.clone();
        let start = Start {
            se,
            request: word.request(),
            task: TaskId(self.environment.uuid()),
            operation: "report",
            if_busy: IfBusy::Queue,
            flow: Box::new(move |session| take(tsm, session, se, aid, word).boxed()),
        };
        match self.engine.start(start).await? {
            ConversationReply::Outcome { outcome, .. } => match outcome.problem {
                None => Ok(()),
                Some(problem) => Err(problem),
            },
            // Another conversation holds the card, and the line is in memory only: the sender keeps the word until
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
}

async fn take(tsm: Arc<SeTsm>, session: Session, se: SeId, aid: Aid, word: Word) -> Ending {
    let mut work = Work::new(tsm, session, se);
    match work.take_word(aid, &word).await {
        Ok(()) => Outcome::done(OutcomeDetail::Nothing).into(),
        Err(stop) => Outcome::refused(stop_to_problem(stop)).into(),
    }
}

/// What is known of the application when a word about it comes.
struct Told {
    known: Known,
    question: Question,
    on_se: ApplicationOnSe,
}

impl Work {
    async fn take_word(&mut self, aid: Aid, word: &Word) -> Result<(), Stop> {
        let known = Known::load(&self.tsm, self.se).await?;
        let question = Question::load(&self.tsm, aid).await?;
        let on_se = known.on_se(&question.application, self.tsm.now());
        let overtaken = is_overtaken(&on_se, word);
        let told = Told { known, question, on_se };
        match word {
            Word::Result(report) => self.take_result(told, report, overtaken).await,
            Word::Opened(_) if overtaken => Ok(()),
            Word::Opened(notice) => self.take_opening(told, notice).await,
            Word::Unsubscribed(notice) => self.take_end(told, notice, overtaken).await,
        }
    }

    async fn take_result(
        &mut self,
        told: Told,
        report: &OperationResult,
        overtaken: bool,
    ) -> Result<(), Stop> {
        let aid = told.on_se.application;
        let mut change = SeChange::default();
        settle_hand_over(&told.known, report, &mut change);
        if report.result == OutcomeResult::Done && !overtaken {
            self.record_done(told, report, &mut change).await?;
        }
        let detail = serde_json::json!({
            "application": aid.to_string(),
            "kind": format!("{:?}", report.kind),
            "result": format!("{:?}", report.result),
        });
        change.notes.push(self.note(if overtaken { "reported-late" } else { "reported" }, &detail));
        self.commit(change).await?;
        match &report.moved_from {
            Some(from) if report.result == OutcomeResult::Done => {
                self.tsm.migration_arrived(se_id(from)?, self.se, aid).await
            }
            _ => Ok(()),
        }
    }

    /// Adds what an operation has done to a change.
    async fn record_done(
        &self,
        told: Told,
        report: &OperationResult,
        change: &mut SeChange,
    ) -> Result<(), Stop> {
        let is_beginning = matches!(report.kind, OperationKind::Download | OperationKind::Personalise);
        let record = if is_beginning {
            let moved_from = report.moved_from.as_ref().map(se_id).transpose()?;
            self.put_to_use(&told, moved_from, change).await?
        } else {
            after_lock(&told, report.kind).map_err(forbidden)?
        };
        let Told { question, on_se, .. } = told;
        change.applications.push(ApplicationOnSe {
            record,
            version: question.application.version.software.clone(),
            changed_at: self.tsm.now(),
            reported_lock: reported_lock(report.kind, &on_se),
            last_word: report.number.or(on_se.last_word),
            ..on_se
        });
        Ok(())
    }

    /// The record of an application that is installed and personalised. Its place in the inventory, and its
    /// subscription, a new one or the one that it brings along, are added to the change.
    async fn put_to_use(
        &self,
        told: &Told,
        moved_from: Option<SeId>,
        change: &mut SeChange,
    ) -> Result<SeApplication, Stop> {
        let Told { known, question, on_se } = told;
        let record = in_use(on_se.record).map_err(forbidden)?;
        let inventory = &known.record.inventory;
        let seen = presence(&question.application, inventory);
        if !matches!(seen, Presence::Instantiated | Presence::Locked) {
            let inventory = with_application(inventory.clone(), &question.application);
            change.observed = Some((inventory, self.tsm.now()));
        }
        let what = Subscribed::Application(question.application.aid);
        let moved = match moved_from {
            Some(from) => self.moved_subscription(known, from, what).await?,
            None => None,
        };
        let subscription = match moved {
            Some(moved) => Some(moved),
            None => self.subscription(known, what, &question.provider.id).await?,
        };
        change.subscriptions.extend(subscription);
        Ok(record)
    }

    async fn take_opening(&self, told: Told, notice: &Notice) -> Result<(), Stop> {
        let record = match told.on_se.record {
            record if record.state == SeState::Useable => record,
            record => record.apply(SeEvent::OpenNotice).map_err(forbidden)?.application,
        };
        self.commit(self.noticed("opened", told.on_se, record, notice, SeChange::default())).await
    }

    async fn take_end(&self, told: Told, notice: &Notice, overtaken: bool) -> Result<(), Stop> {
        let (aid, record) = (told.on_se.application, told.on_se.record);
        let is_known = told.known.applications.iter().any(|known| known.application == aid);
        if notice.end == Some(CardEnd::Returned) {
            // Also when the phone has deleted it long since: the rider had it parked, and wants his money now.
            self.tsm.migration_ended(self.se, aid).await?;
        } else if !is_known {
            return Err(ProblemCode::NotInstalled.into());
        }
        let is_news = notice.number.is_some() || !is_ended(&record);
        if is_known && is_news && !overtaken {
            let mut change = SeChange::default();
            // That it was in use may still be on its way here, when its number says that this is later.
            let used = match record.state {
                SeState::Ready | SeState::Loaded | SeState::Instantiated if notice.number.is_some() => {
                    self.put_to_use(&told, None, &mut change).await?
                }
                _ => record,
            };
            let ended = unsubscribed(used).map_err(forbidden)?;
            let stored = self.tsm.store.subscriptions_of(self.se).await?;
            change.subscriptions.extend(stored);
            change.subscriptions.retain(|it| it.what == Subscribed::Application(aid) && it.is_active());
            let now = self.tsm.now();
            change.subscriptions = change.subscriptions.into_iter().map(|it| it.cancelled(now)).collect();
            self.commit(self.noticed("unsubscribed", told.on_se, ended, notice, change)).await?;
        }
        self.tsm.migration_left(self.se, aid).await
    }

    /// The change with what a notice has made of the record.
    fn noticed(
        &self,
        event: &str,
        on_se: ApplicationOnSe,
        record: SeApplication,
        notice: &Notice,
        change: SeChange,
    ) -> SeChange {
        let detail = serde_json::json!({ "application": on_se.application.to_string() });
        let (changed_at, last_word) = (self.tsm.now(), notice.number.or(on_se.last_word));
        SeChange {
            applications: vec![ApplicationOnSe { record, changed_at, last_word, ..on_se }],
            notes: vec![self.note(event, &detail)],
            ..change
        }
    }
}

/// Whether a word was said before another that is taken, or is that one.
fn is_overtaken(on_se: &ApplicationOnSe, word: &Word) -> bool {
    on_se.last_word.zip(word.number()).is_some_and(|(last, number)| number <= last)
}

fn settle_hand_over(known: &Known, report: &OperationResult, change: &mut SeChange) {
    let outcome = match report.result {
        OutcomeResult::Done => Settled::Done,
        OutcomeResult::Refused | OutcomeResult::Failed | OutcomeResult::Cancelled => Settled::NotDone,
        OutcomeResult::Unknown => return,
    };
    let id = ConversationId::from_uuid(report.operation.0);
    let handed = known
        .open
        .iter()
        .filter(|intention| intention.conversation == id && matches!(intention.what, Intended::HandOver(_)));
    change.intentions.extend(handed.map(|intention| Intention { outcome, ..intention.clone() }));
}

/// What is known of the application's own lock after a report. A new instance is not locked.
fn reported_lock(kind: OperationKind, on_se: &ApplicationOnSe) -> Option<LockChange> {
    let is_new = !matches!(on_se.record.state, SeState::Useable | SeState::Locked);
    match kind {
        OperationKind::Lock => Some(LockChange::Lock),
        OperationKind::Unlock => Some(LockChange::Unlock),
        OperationKind::Download | OperationKind::Personalise if is_new => None,
        OperationKind::Download
        | OperationKind::Personalise
        | OperationKind::Synchronise
        | OperationKind::Delete => on_se.reported_lock,
    }
}

/// The record after a lock or unlock by the SP-TSM, by the rows of table S.1. What is done already stays.
fn after_lock(told: &Told, kind: OperationKind) -> Result<SeApplication, Refusal> {
    let (application, record) = (&told.question.application, told.on_se.record);
    match kind {
        OperationKind::Lock if record.state == SeState::Locked => Ok(record),
        OperationKind::Lock => Ok(record.apply(SeEvent::Locked)?.application),
        OperationKind::Unlock if record.state == SeState::Useable => Ok(record),
        // The platform's own lock, in the registry, is still there.
        OperationKind::Unlock if presence(application, &told.known.record.inventory) == Presence::Locked => {
            Ok(record)
        }
        // The SP-TSM has asked its own policy; a hall that acts through it counts as one.
        OperationKind::Unlock => {
            let actor = match application.unlock {
                UnlockPolicy::ClientOnly => Actor::User,
                UnlockPolicy::HallOnly | UnlockPolicy::HallOrClient => Actor::Hall,
            };
            Ok(record.apply(SeEvent::Unlocked(actor, application.unlock))?.application)
        }
        OperationKind::Download
        | OperationKind::Personalise
        | OperationKind::Synchronise
        | OperationKind::Delete => Ok(record),
    }
}

/// The record once the application is installed and personalised.
fn in_use(record: SeApplication) -> Result<SeApplication, Refusal> {
    let record = instantiated(record)?;
    let due = record.state == SeState::Instantiated && record.personalisation == PersonalisationNeed::Needed;
    if !due {
        return Ok(record);
    }
    let begun = record.apply(SeEvent::PersonalisationBegun(HeldValue::Settled))?.application;
    Ok(begun.apply(SeEvent::PersonalisationComplete)?.application)
}

/// The record once its subscription has ended, whatever lock the application is under: the provider has closed it,
/// and the lock protects nothing any more (D-7).
fn unsubscribed(record: SeApplication) -> Result<SeApplication, Refusal> {
    let unlocked = match record.state {
        SeState::Locked => record.apply(SeEvent::Unlocked(Actor::Hall, UnlockPolicy::HallOnly))?.application,
        _ => record,
    };
    Ok(unlocked.apply(SeEvent::Unsubscribed)?.application)
}

/// Whether a notice without a number says nothing new: it was said before.
fn is_ended(record: &SeApplication) -> bool {
    match record.state {
        SeState::Instantiated => record.perso_on_se != PersoOnSe::Partial,
        // Said again after the application was deleted, which ended the subscription.
        SeState::Ready | SeState::Loaded => true,
        SeState::Personalized | SeState::Useable | SeState::Locked => false,
    }
}
