//! Whether an application may be downloaded to an SE now (P-5.8.4.1.1), with one reason for each refusal.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tsm_iso7816::Aid;

use super::record::{Application, ApplicationKind, MemoryKind, Scope, Space};
use crate::id::Msisdn;
use crate::provider::{Capability, Provider, ProviderState};
use crate::se::{Batch, SeStanding};
use crate::security_domain::DomainMode;

/// The user's standing with the carrier (P-5.8.4.1.1.b).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SubscriberState {
    /// In the network.
    InNetwork,
    /// Suspended.
    Suspended,
    /// Left the network.
    Cancelled,
    /// No carrier tells.
    Unknown,
}

/// All that the check looks at.
#[derive(Debug, Clone)]
pub struct Eligibility<'a> {
    /// The application.
    pub application: &'a Application,
    /// Its provider.
    pub provider: &'a Provider,
    /// The mode of its security domain.
    pub domain_mode: DomainMode,
    /// The SE's batch.
    pub batch: &'a Batch,
    /// Whether the SE may be served.
    pub standing: SeStanding,
    /// The number the SE is bound to.
    pub number: Option<&'a Msisdn>,
    /// Numbers for tests.
    pub test_numbers: &'a BTreeSet<Msisdn>,
    /// The user's province.
    pub province: Option<&'a str>,
    /// The user's standing with the carrier.
    pub subscriber: SubscriberState,
    /// Applications on this SE whose subscriptions belong to another number (case 3b).
    pub blocked: &'a BTreeSet<Aid>,
    /// What is missing on the SE and must fit.
    pub needed: Space,
    /// The free space that counts: the fixed domain's own, or the SE's.
    pub free: Space,
}

/// Why an application may not be downloaded. Each reason has a code of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ineligible {
    /// The SE is reported lost.
    #[error("the SE is reported lost")]
    SeLost,
    /// The SE is terminated.
    #[error("the SE is terminated")]
    SeTerminated,
    /// No number is bound.
    #[error("the SE is not registered to a number")]
    NotRegistered,
    /// Extensions come with what needs them.
    #[error("an extension is not downloaded by itself")]
    Extension,
    /// It is not available to this user in its present state.
    #[error("the application is {0} and not available to this user")]
    NotAvailable(&'static str),
    /// The provider is not approved.
    #[error("the provider is not approved")]
    ProviderNotApproved,
    /// The provider is blacklisted.
    #[error("the provider is blacklisted: {0}")]
    ProviderBlacklisted(String),
    /// The provider has no right to download.
    #[error("the provider has no right to download applications")]
    ProviderMayNotDownload,
    /// Another province's application.
    #[error("the application is for province {0}")]
    OtherProvince(String),
    /// The user is suspended.
    #[error("the number is suspended by its carrier")]
    SubscriberSuspended,
    /// The user left the network.
    #[error("the number has left the network")]
    SubscriberLeft,
    /// The previous user's subscription lives.
    #[error("the previous user's subscription to this application is not cancelled yet")]
    PreviousUsersSubscription,
    /// The batch is not supported.
    #[error("the application does not support SE batch {0}")]
    BatchNotSupported(String),
    /// The SE's Java Card version is too low.
    #[error("the application needs Java Card {needed} and the SE has {found}")]
    JavaCardVersion {
        /// Needed.
        needed: String,
        /// Found.
        found: String,
    },
    /// The SE's platform version is too low.
    #[error("the application needs platform version {needed} and the SE has {found}")]
    PlatformVersion {
        /// Needed.
        needed: String,
        /// Found.
        found: String,
    },
    /// A DAP signature is missing.
    #[error("load file {0} has no DAP signature, which its security domain requires")]
    DapMissing(Aid),
    /// It does not fit.
    #[error("the application needs {needed} bytes of {kind} and {free} are free")]
    NoSpace {
        /// The kind of space.
        kind: &'static str,
        /// Needed.
        needed: u32,
        /// Free.
        free: u32,
    },
}

impl Ineligible {
    /// A stable code for clients.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::SeLost => "se-lost",
            Self::SeTerminated => "se-terminated",
            Self::NotRegistered => "not-registered",
            Self::Extension => "extension",
            Self::NotAvailable(_) => "not-available",
            Self::ProviderNotApproved => "provider-not-approved",
            Self::ProviderBlacklisted(_) => "provider-blacklisted",
            Self::ProviderMayNotDownload => "provider-may-not-download",
            Self::OtherProvince(_) => "other-province",
            Self::SubscriberSuspended => "subscriber-suspended",
            Self::SubscriberLeft => "subscriber-left",
            Self::PreviousUsersSubscription => "previous-users-subscription",
            Self::BatchNotSupported(_) => "batch-not-supported",
            Self::JavaCardVersion { .. } => "java-card-version",
            Self::PlatformVersion { .. } => "platform-version",
            Self::DapMissing(_) => "dap-missing",
            Self::NoSpace { .. } => "no-space",
        }
    }
}

/// Checks in a fixed order: the SE, the user, the application, the provider, the fit, the space.
pub fn check(question: &Eligibility<'_>) -> Result<(), Ineligible> {
    check_se_and_user(question)?;
    check_provider(question.provider)?;
    check_fit(question)?;
    check_space(question.needed, question.free)
}

fn check_se_and_user(question: &Eligibility<'_>) -> Result<(), Ineligible> {
    match question.standing {
        SeStanding::Active => {}
        SeStanding::Lost => return Err(Ineligible::SeLost),
        SeStanding::Terminated => return Err(Ineligible::SeTerminated),
    }
    if question.number.is_none() {
        return Err(Ineligible::NotRegistered);
    }
    let application = question.application;
    if application.kind == ApplicationKind::Extension {
        return Err(Ineligible::Extension);
    }
    if !application.state.admits(question.number, question.test_numbers, &application.users) {
        return Err(Ineligible::NotAvailable(application.state.words()));
    }
    // Only third parties' applications ask for the carrier's word (P-5.8.4.1.1.b).
    if !question.provider.is_operator() {
        match question.subscriber {
            SubscriberState::InNetwork | SubscriberState::Unknown => {}
            SubscriberState::Suspended => return Err(Ineligible::SubscriberSuspended),
            SubscriberState::Cancelled => return Err(Ineligible::SubscriberLeft),
        }
    }
    if question.blocked.contains(&application.aid) {
        return Err(Ineligible::PreviousUsersSubscription);
    }
    match &application.scope {
        Scope::Network => Ok(()),
        Scope::Province(province) if question.province == Some(province) => Ok(()),
        Scope::Province(province) => Err(Ineligible::OtherProvince(province.clone())),
    }
}

fn check_provider(provider: &Provider) -> Result<(), Ineligible> {
    if provider.state != ProviderState::Approved {
        return Err(Ineligible::ProviderNotApproved);
    }
    if let Some(reason) = &provider.blacklisted {
        return Err(Ineligible::ProviderBlacklisted(reason.clone()));
    }
    if !provider.capabilities.contains(&Capability::Download) {
        return Err(Ineligible::ProviderMayNotDownload);
    }
    Ok(())
}

fn check_fit(question: &Eligibility<'_>) -> Result<(), Ineligible> {
    let (application, batch) = (question.application, question.batch);
    if !application.batches.has(&batch.id) {
        return Err(Ineligible::BatchNotSupported(batch.id.to_string()));
    }
    if version_below(&batch.java_card_version, &application.java_card_version) {
        return Err(Ineligible::JavaCardVersion {
            needed: application.java_card_version.clone(),
            found: batch.java_card_version.clone(),
        });
    }
    if version_below(&batch.platform_version, &application.platform_version) {
        return Err(Ineligible::PlatformVersion {
            needed: application.platform_version.clone(),
            found: batch.platform_version.clone(),
        });
    }
    if question.domain_mode == DomainMode::Dap {
        let unsigned = |file: &&super::LoadFileRecord| {
            file.memory == MemoryKind::Downloaded
                && file.domain == application.domain
                && file.dap_signature.is_none()
        };
        if let Some(file) = application.load_files.iter().find(unsigned) {
            return Err(Ineligible::DapMissing(file.aid));
        }
    }
    Ok(())
}

fn check_space(needed: Space, free: Space) -> Result<(), Ineligible> {
    let rows = [
        ("code space", needed.code, free.code),
        ("data space", needed.data, free.data),
        ("volatile space", needed.volatile, free.volatile),
    ];
    match rows.into_iter().find(|(_, needed, free)| needed > free) {
        Some((kind, needed, free)) => Err(Ineligible::NoSpace { kind, needed, free }),
        None => Ok(()),
    }
}

// Compares dotted numbers; a part that is not a number counts as zero.
fn version_below(found: &str, needed: &str) -> bool {
    let parts = |text: &str| -> Vec<u32> { text.split('.').map(|part| part.parse().unwrap_or(0)).collect() };
    parts(found) < parts(needed)
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{aid, application, load_file, module};
    use super::super::{Availability, BatchSelection, ManagementState, UserSelection};
    use super::*;
    use crate::se::batch_for_tests;

    /// One world in which everything is fine, and one change for each reason.
    ///
    /// req: P-5.8.4.1.1.b, P-5.8.4.1.1.c, P-5.4.2.l, P-5.4.2.n, P-5.4.4.4.b, P-5.4.2.j, P-5.4.2.k
    #[test]
    fn one_reason_for_each_refusal() {
        struct World {
            application: Application,
            provider: Provider,
            batch: Batch,
            mode: DomainMode,
            standing: SeStanding,
            number: Option<Msisdn>,
            subscriber: SubscriberState,
            blocked: BTreeSet<Aid>,
            free: Space,
        }
        let fine = || {
            let mut application = application(vec![load_file(0x10, &[], vec![module(0x20, &[0x30])])]);
            application.state = ManagementState::Published(Availability::Available);
            World {
                application,
                provider: Provider::third_party_for_tests("CITY"),
                batch: batch_for_tests("B1", &[0, 0], &[0xFF, 0xFF]),
                mode: DomainMode::Managed,
                standing: SeStanding::Active,
                number: Some("13800138000".parse().unwrap()),
                subscriber: SubscriberState::InNetwork,
                blocked: BTreeSet::new(),
                free: Space { code: 1_000, data: 200, volatile: 50 },
            }
        };
        type Change = (&'static str, fn(&mut World));
        let changes: [Change; 20] = [
            ("se-lost", |world| world.standing = SeStanding::Lost),
            ("se-terminated", |world| world.standing = SeStanding::Terminated),
            ("not-registered", |world| world.number = None),
            ("extension", |world| world.application.kind = ApplicationKind::Extension),
            ("not-available", |world| {
                world.application.state = ManagementState::Published(Availability::Suspended);
            }),
            ("not-available", |world| world.application.users = UserSelection::These(BTreeSet::new())),
            ("provider-not-approved", |world| world.provider.state = ProviderState::InAudit),
            ("provider-blacklisted", |world| world.provider.blacklisted = Some("fraud".into())),
            ("provider-may-not-download", |world| {
                world.provider.capabilities.remove(&Capability::Download);
            }),
            ("other-province", |world| world.application.scope = Scope::Province("11".into())),
            ("subscriber-suspended", |world| world.subscriber = SubscriberState::Suspended),
            ("subscriber-left", |world| world.subscriber = SubscriberState::Cancelled),
            ("previous-users-subscription", |world| world.blocked = [aid(0x30)].into()),
            ("batch-not-supported", |world| {
                world.application.batches = BatchSelection::These(BTreeSet::new())
            }),
            ("java-card-version", |world| world.application.java_card_version = "99.0".into()),
            ("platform-version", |world| world.application.platform_version = "99.0".into()),
            ("dap-missing", |world| world.mode = DomainMode::Dap),
            ("no-space", |world| world.free.code -= 1),
            ("no-space", |world| world.free.data -= 1),
            ("no-space", |world| world.free.volatile -= 1),
        ];
        let ask = |world: &World| {
            check(&Eligibility {
                application: &world.application,
                provider: &world.provider,
                domain_mode: world.mode,
                batch: &world.batch,
                standing: world.standing,
                number: world.number.as_ref(),
                test_numbers: &BTreeSet::new(),
                province: Some("32"),
                subscriber: world.subscriber,
                blocked: &world.blocked,
                needed: world.application.space,
                free: world.free,
            })
        };
        assert_eq!(ask(&fine()), Ok(()));
        for (code, change) in changes {
            let mut world = fine();
            change(&mut world);
            assert_eq!(ask(&world).map_err(|refusal| refusal.code()), Err(code));
        }
        let mut own = fine();
        own.provider = Provider::operator_for_tests("CITY");
        own.subscriber = SubscriberState::Suspended;
        assert_eq!(ask(&own), Ok(()), "the operator's own applications do not ask the carrier");
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(version_below("2.2.2", "2.10"));
        assert!(!version_below("3.0.5", "3.0.5"));
        assert!(version_below("3.0", "3.0.1"));
    }
}
