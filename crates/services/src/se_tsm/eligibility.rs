//! Whether an application may go to a secure element now, asked of the rules with all that they look at.

use std::collections::BTreeSet;

use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::application::{Application, Eligibility, Ineligible, Space, SubscriberState, check};
use tsm_domain::provider::Provider;
use tsm_domain::se::{Presence, SeRecord, presence};
use tsm_domain::security_domain::{DomainDefinition, DomainMode, DomainState};
use tsm_domain::subscription::Subscribed;
use tsm_iso7816::Aid;

use super::SeTsm;
use super::stop::Stop;
use super::work::Known;

/// What the catalogue and the download ask alike.
pub(super) struct Question {
    pub application: Application,
    pub provider: Provider,
    /// The domain's definition; `None` for the issuer's.
    pub domain: Option<DomainDefinition>,
}

impl Question {
    /// Reads what belongs to an application.
    pub(super) async fn load(tsm: &SeTsm, aid: Aid) -> Result<Self, Stop> {
        let application = tsm.store.application(aid).await?.ok_or(ProblemCode::UnknownId)?.value;
        Self::of(tsm, application).await
    }

    pub(super) async fn of(tsm: &SeTsm, application: Application) -> Result<Self, Stop> {
        let provider = tsm.store.provider(&application.provider).await?.ok_or(ProblemCode::UnknownId)?.value;
        let domain = tsm.store.domain(application.domain).await?.map(|found| found.value);
        Ok(Self { application, provider, domain })
    }

    /// Asks the rules.
    pub(super) async fn check(&self, tsm: &SeTsm, known: &Known) -> Result<(), Stop> {
        let number = known.record.binding.as_ref().map(|binding| binding.number.clone());
        let standing = match &number {
            Some(number) => tsm.store.number(number).await?,
            None => None,
        };
        let blocked = blocked(tsm, &known.record).await?;
        let test_numbers = tsm.store.test_numbers().await?;
        let question = Eligibility {
            application: &self.application,
            provider: &self.provider,
            domain_mode: self.domain.as_ref().map_or(DomainMode::Issuer, |domain| domain.mode),
            batch: &known.batch,
            standing: known.record.standing,
            number: number.as_ref(),
            test_numbers: &test_numbers,
            province: standing.as_ref().and_then(|number| number.province.as_deref()),
            subscriber: standing.as_ref().map_or(SubscriberState::Unknown, |number| number.state),
            blocked: &blocked,
            needed: self.missing(known),
            free: known.record.inventory.free,
        };
        check(&question).map_err(|reason| Stop::Refused(problem(&reason)))
    }

    /// What is not on the card yet and must fit. Its exact measure is taken from the card's own observation.
    fn missing(&self, known: &Known) -> Space {
        let inventory = &known.record.inventory;
        let space = self.application.space;
        match presence(&self.application, inventory) {
            Presence::Instantiated | Presence::Locked => Space::default(),
            Presence::Loaded => Space { code: 0, ..space },
            Presence::Absent | Presence::Partial => space,
        }
    }

    /// Whether the domain is on the card with its owner's keys.
    pub(super) fn domain_is_ready(&self, known: &Known) -> bool {
        let aid = self.application.domain;
        aid == known.batch.issuer_domain
            || known
                .domains
                .iter()
                .any(|domain| domain.aid == aid && domain.state == DomainState::Personalized)
    }
}

/// Applications on the secure element whose subscriptions belong to another number (S.5, case 3b).
pub(super) async fn blocked(tsm: &SeTsm, record: &SeRecord) -> Result<BTreeSet<Aid>, Stop> {
    let own = record.binding.as_ref().map(|binding| &binding.number);
    let subscriptions = tsm.store.subscriptions_of(record.se).await?;
    Ok(subscriptions
        .into_iter()
        .filter(|subscription| subscription.is_active() && Some(&subscription.number) != own)
        .filter_map(|subscription| match subscription.what {
            Subscribed::Application(aid) => Some(aid),
            Subscribed::Domain(_) => None,
        })
        .collect())
}

/// The wire's code for each reason of the rules.
pub(super) fn problem(reason: &Ineligible) -> Problem {
    let code = match reason {
        Ineligible::SeLost | Ineligible::SeTerminated => ProblemCode::OnLossList,
        Ineligible::NotRegistered => ProblemCode::NotRegistered,
        Ineligible::Extension | Ineligible::NotAvailable(_) => ProblemCode::NotPublished,
        Ineligible::ProviderNotApproved | Ineligible::ProviderMayNotDownload => {
            ProblemCode::ProviderNotApproved
        }
        Ineligible::ProviderBlacklisted(_) => ProblemCode::ProviderBlacklisted,
        Ineligible::OtherProvince(_) | Ineligible::SubscriberLeft | Ineligible::PreviousUsersSubscription => {
            ProblemCode::NotForThisUser
        }
        Ineligible::SubscriberSuspended => ProblemCode::SubscriberSuspended,
        Ineligible::BatchNotSupported(_)
        | Ineligible::JavaCardVersion { .. }
        | Ineligible::PlatformVersion { .. } => ProblemCode::NotForThisBatch,
        Ineligible::DapMissing(_) => ProblemCode::DependencyMissing,
        Ineligible::NoSpace { .. } => ProblemCode::NoSpace,
    };
    Problem::because(code, format_args!("({reason})"))
}
