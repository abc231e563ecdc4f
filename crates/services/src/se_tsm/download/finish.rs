//! The end of a download at the SE-TSM: the record, the subscription, the hand-over.

use tsm_domain::SubscriptionId;
use tsm_domain::se::{Presence, presence};
use tsm_domain::se_application::{Refusal, SeApplication, SeOperation};
use tsm_domain::subscription::{Subscribed, Subscription, SubscriptionState};
use tsm_storage::se_tsm::Outcome as Settled;

use super::*;

impl Work {
    /// Where the application needs nothing more on the card, says so; `None` where it does.
    pub(super) async fn already_there(
        &mut self,
        question: &Question,
        known: &Known,
        complete: bool,
    ) -> Result<Option<Ending>, Stop> {
        let application = &question.application;
        let on_se = known.on_se(application, self.tsm.now());
        match on_se.record.state {
            SeState::Useable | SeState::Personalized | SeState::Locked if complete => {
                return Err(ProblemCode::AlreadyInstalled.into());
            }
            SeState::Instantiated if complete => {}
            _ => return Ok(None),
        }
        // S.1 row 9: only the platform's record changes.
        match on_se.record.apply(SeEvent::DownloadChosen) {
            Ok(transition) if transition.operation == SeOperation::None => {
                let after =
                    ApplicationOnSe { record: transition.application, changed_at: self.tsm.now(), ..on_se };
                let state = after.record.state;
                self.record_installed(question, known, after, "download-chosen").await?;
                let detail =
                    OutcomeDetail::Installed { aid: application.aid.into(), state: state_to_wire(state) };
                Ok(Some(Outcome::done(detail).into()))
            }
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// An earlier download did everything on the card and its outcome was lost: records what the card shows.
    pub(super) async fn found_installed(
        &mut self,
        question: &Question,
        known: &Known,
    ) -> Result<Ending, Stop> {
        let aid = question.application.aid;
        let on_se = known.on_se(&question.application, self.tsm.now());
        let record = instantiated(on_se.record).map_err(forbidden)?;
        let after = ApplicationOnSe { record, changed_at: self.tsm.now(), ..on_se };
        let state = state_to_wire(after.record.state);
        self.record_installed(question, known, after, "installed").await?;
        Ok(Outcome::done(OutcomeDetail::Installed { aid: aid.into(), state }).into())
    }

    /// What the card showed after loading and installing.
    pub(super) async fn installed(
        &mut self,
        step: &Step<'_>,
        known: &Known,
        inventory: &Inventory,
    ) -> Result<(), Stop> {
        let application = &step.question.application;
        if presence(application, inventory) != Presence::Instantiated {
            let reason = both(
                "The card's registry does not show what was installed.",
                "卡片登记表中没有所安装的内容。",
            );
            return Err(Problem::because(ProblemCode::CardUnproven, reason).into());
        }
        let on_se = known.on_se(application, self.tsm.now());
        let record = instantiated(on_se.record).map_err(forbidden)?;
        let version = application.version.software.clone();
        let after = ApplicationOnSe { record, version, changed_at: self.tsm.now(), ..on_se };
        self.record_installed(step.question, known, after, "installed").await
    }

    async fn record_installed(
        &mut self,
        question: &Question,
        known: &Known,
        after: ApplicationOnSe,
        event: &str,
    ) -> Result<(), Stop> {
        let application = &question.application;
        let mut change = SeChange::default();
        let useable = matches!(after.record.state, SeState::Useable | SeState::Personalized);
        if useable {
            change.subscriptions.extend(
                self.subscription(known, Subscribed::Application(application.aid), &application.provider)
                    .await?,
            );
        }
        let detail = serde_json::json!({
            "application": application.aid.to_string(),
            "version": after.version,
            "state": format!("{:?}", after.record.state),
        });
        change.applications.push(after);
        change.notes.push(self.note(event, &detail));
        self.settle(Settled::Done, &mut change);
        self.commit(change).await
    }

    /// Hands the conversation over, or ends it.
    pub(super) async fn close(
        &mut self,
        step: &Step<'_>,
        answer: Option<ResponseApdu>,
        view: DomainObservation,
    ) -> Result<Ending, Stop> {
        let question = step.question;
        let Some(answer) = answer else {
            let known = Known::load(&self.tsm, self.se).await?;
            let on_se = known.on_se(&question.application, self.tsm.now());
            let detail = OutcomeDetail::Installed {
                aid: question.application.aid.into(),
                state: state_to_wire(on_se.record.state),
            };
            return Ok(Outcome::done(detail).into());
        };
        self.intend_hand_over(question).await?;
        let request = HandoverRequest {
            operation: OperationId(self.session.conversation.0),
            initialize_update: HexBytes(answer.to_bytes()),
            observation: view,
            progress: self.session.progress.read(),
        };
        let client = self.tsm.sp_tsms.of(&question.provider).await?;
        let reply = client.handover(&request).await.map_err(|error| error.to_problem())?;
        Ok(Ending::Handover(Box::new(Handover {
            party: Party::SpTsm,
            conversation: reply.conversation,
            ticket: reply.ticket,
            turn: reply.turn,
            steps: reply.steps,
            progress: reply.progress,
        })))
    }

    /// From here on the SP-TSM's word, or the next observation, says what became of the application.
    async fn intend_hand_over(&mut self, question: &Question) -> Result<(), Stop> {
        let known = Known::load(&self.tsm, self.se).await?;
        let on_se = known.on_se(&question.application, self.tsm.now());
        let recorded = known.applications.iter().any(|other| other.application == on_se.application);
        let mut change = SeChange::default();
        if !recorded {
            change.applications.push(on_se);
        }
        self.intend_with(Intended::HandOver(question.provider.id.clone()), change).await
    }

    pub(super) fn domain_subscription(&self, step: &Step<'_>) -> Result<Option<Subscription>, Stop> {
        let what = Subscribed::Domain(step.domain_aid());
        Ok(self.new_subscription(step.known, what, &step.question.provider.id))
    }

    /// A subscription, unless an active one is there already.
    pub(in super::super) async fn subscription(
        &self,
        known: &Known,
        what: Subscribed,
        provider: &tsm_domain::ProviderId,
    ) -> Result<Option<Subscription>, Stop> {
        let existing = self.tsm.store.subscriptions_of(self.se).await?;
        if existing.iter().any(|subscription| subscription.what == what && subscription.is_active()) {
            return Ok(None);
        }
        Ok(self.new_subscription(known, what, provider))
    }

    fn new_subscription(
        &self,
        known: &Known,
        what: Subscribed,
        provider: &tsm_domain::ProviderId,
    ) -> Option<Subscription> {
        let number = known.record.binding.as_ref()?.number.clone();
        Some(Subscription {
            id: SubscriptionId::generate(&*self.tsm.environment.entropy),
            se: self.se,
            number,
            what,
            provider: provider.clone(),
            since: self.tsm.now(),
            state: SubscriptionState::Active,
        })
    }
}

/// Brings a record to where loading and installing lead, by the rows of table S.1.
pub(in super::super) fn instantiated(mut record: SeApplication) -> Result<SeApplication, Refusal> {
    if record.state == SeState::Ready {
        record = record.apply(SeEvent::AllLoaded)?.application;
    }
    if record.state == SeState::Loaded {
        record = record.apply(SeEvent::AllInstancesCreated)?.application;
    }
    Ok(record)
}
