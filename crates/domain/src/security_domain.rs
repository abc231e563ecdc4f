//! Security domains: the definition that is managed (P-5.3) and the domain on one SE (P-5.8.3).

use serde::{Deserialize, Serialize};
use tsm_iso7816::Aid;

use crate::id::{OperatorId, ProviderId};
use crate::se::{Inventory, MirrorKind};

/// The four modes (P-5.3.1.d, D-16).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DomainMode {
    /// Mode one: the issuer security domain.
    Issuer,
    /// Mode two: plain, with keys that the platform manages.
    Managed,
    /// Mode three: load files carry the owner's DAP signature.
    Dap,
    /// Mode four: delegated management with tokens.
    Token,
}

/// What the owner of a domain of mode two may do (B-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ContentManagement {
    /// Nothing beyond its own applications' data: the issuer loads and installs.
    None,
    /// AMSD: it loads and installs by itself.
    Authorised,
    /// FASD: a final application that can be made a domain's only one.
    FinalApplication,
}

/// How a domain's space is managed (P-5.3.1.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SpaceManagement {
    /// It shares the SE's space.
    NotFixed,
    /// So much is set apart for it.
    Fixed {
        /// Non-volatile bytes.
        non_volatile: u32,
        /// Volatile bytes.
        volatile: u32,
    },
}

/// What happens to a domain when its last application goes (P-5.3.1.e).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DeletionRule {
    /// It goes too.
    WithLastApplication,
    /// It stays until a separate command.
    ByCommandOnly,
}

/// The secure channel protocol of a domain and its option byte `i`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChannelProtocol {
    /// SCP02.
    Scp02 {
        /// The options.
        i: u8,
    },
    /// SCP03.
    Scp03 {
        /// The options.
        i: u8,
    },
}

/// Where a definition stands (P-5.3.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DefinitionState {
    /// Entered by this person, awaiting its audit.
    InAudit(OperatorId),
    /// Usable.
    Approved,
    /// Refused, with the reason.
    Refused(String),
}

/// A security domain's definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainDefinition {
    /// The AID that the platform assigned.
    pub aid: Aid,
    /// The load file and module it is instantiated from.
    pub load_file: Aid,
    /// The module.
    pub module: Aid,
    /// The owner.
    pub provider: ProviderId,
    /// The mode.
    pub mode: DomainMode,
    /// What a domain of mode two may do.
    pub management: ContentManagement,
    /// Its space.
    pub space: SpaceManagement,
    /// When it goes.
    pub deletion: DeletionRule,
    /// After so many days its keys are renewed (P-5.3.1.f).
    pub key_period_days: u32,
    /// Its secure channel protocol.
    pub protocol: ChannelProtocol,
    /// Where it stands.
    pub state: DefinitionState,
}

/// Whether any SE has the domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Created {
    /// None.
    Nowhere,
    /// At least one.
    OnSomeSe,
}

/// Why a definition is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionRefusal {
    /// Fixed space is more than none.
    #[error("a domain with fixed space has more than 0 bytes")]
    FixedSpaceZero,
    /// Management privileges belong to mode two.
    #[error("authorised management and final application go with mode two")]
    ManagementNeedsModeTwo,
    /// The issuer domain is not created.
    #[error("the issuer security domain is on every SE and is not created")]
    IssuerDomain,
    /// The auditor is the applicant.
    #[error("who entered a domain cannot audit it")]
    OwnEntry,
    /// It is not awaiting audit.
    #[error("the domain is not awaiting audit")]
    NotInAudit,
    /// It exists on SEs.
    #[error("the domain exists on SEs; only its deletion rule and key update period can change")]
    CreatedAlready,
    /// It exists on SEs.
    #[error("the domain exists on SEs and cannot be deleted from the platform")]
    CannotDelete,
}

/// What it takes to create the domain on an SE: INSTALL \[for install and make selectable\].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainInstallation {
    /// Three bytes of privileges (GPC 2.3.1 6.6.2).
    pub privileges: [u8; 3],
    /// The install parameters field (GPC 2.3.1 11.5.2.3.7).
    pub parameters: Vec<u8>,
}

impl DomainDefinition {
    /// Checks that mode, management and space fit together.
    pub fn check(&self) -> Result<(), DefinitionRefusal> {
        if self.mode == DomainMode::Issuer {
            return Err(DefinitionRefusal::IssuerDomain);
        }
        if self.mode != DomainMode::Managed && self.management != ContentManagement::None {
            return Err(DefinitionRefusal::ManagementNeedsModeTwo);
        }
        match self.space {
            SpaceManagement::Fixed { non_volatile: 0, .. } => Err(DefinitionRefusal::FixedSpaceZero),
            SpaceManagement::Fixed { .. } | SpaceManagement::NotFixed => Ok(()),
        }
    }

    /// The definition after its audit by `auditor`.
    pub fn audited(
        self,
        verdict: Result<(), String>,
        auditor: &OperatorId,
    ) -> Result<Self, DefinitionRefusal> {
        let DefinitionState::InAudit(applicant) = &self.state else {
            return Err(DefinitionRefusal::NotInAudit);
        };
        if applicant == auditor {
            return Err(DefinitionRefusal::OwnEntry);
        }
        let state = match verdict {
            Ok(()) => DefinitionState::Approved,
            Err(reason) => DefinitionState::Refused(reason),
        };
        Ok(Self { state, ..self })
    }

    /// The definition changed to `next`. Where SEs have it, only two fields may change (P-5.3.4.c).
    pub fn changed(self, next: Self, created: Created) -> Result<Self, DefinitionRefusal> {
        next.check()?;
        let kept = Self { deletion: next.deletion, key_period_days: next.key_period_days, ..self };
        if created == Created::OnSomeSe && kept != next {
            return Err(DefinitionRefusal::CreatedAlready);
        }
        Ok(next)
    }

    /// Whether the definition may be deleted (P-5.3.4.b).
    pub const fn may_delete(created: Created) -> Result<(), DefinitionRefusal> {
        match created {
            Created::Nowhere => Ok(()),
            Created::OnSomeSe => Err(DefinitionRefusal::CannotDelete),
        }
    }

    /// The privileges of the mode: security domain, with DAP verification, delegated or authorised management.
    pub const fn privileges(&self) -> [u8; 3] {
        match (self.mode, self.management) {
            // The issuer's own: security domain, card lock, terminate, reset, and the global privileges.
            (DomainMode::Issuer, _) => [0x9E, 0xFE, 0x80],
            (DomainMode::Managed, ContentManagement::None) => [0x80, 0, 0],
            (DomainMode::Managed, ContentManagement::Authorised) => [0x80, 0x40, 0],
            (DomainMode::Managed, ContentManagement::FinalApplication) => [0x80, 0x02, 0],
            (DomainMode::Dap, _) => [0xC0, 0, 0],
            (DomainMode::Token, _) => [0xA0, 0, 0],
        }
    }

    /// The domain's own parameters, the value of C9: the protocol (81: SCP and `i`).
    pub const fn own_parameters(&self) -> [u8; 4] {
        match self.protocol {
            ChannelProtocol::Scp02 { i } => [0x81, 0x02, 0x02, i],
            ChannelProtocol::Scp03 { i } => [0x81, 0x02, 0x03, i],
        }
    }

    /// Privileges and install parameters, generated from mode, protocol and space (P-5.3.1.g).
    ///
    /// C9 carries [`Self::own_parameters`]. EF carries, for fixed space, C7 and C8: the volatile and the
    /// non-volatile space set apart for the domain.
    pub fn installation(&self) -> DomainInstallation {
        let own = self.own_parameters();
        let mut parameters = vec![0xC9, own.len() as u8];
        parameters.extend(own);
        if let SpaceManagement::Fixed { non_volatile, volatile } = self.space {
            let mut system = Vec::new();
            for (tag, bytes) in [(0xC7, volatile), (0xC8, non_volatile)] {
                system.push(tag);
                let value = memory_size(bytes);
                system.push(value.len() as u8);
                system.extend(value);
            }
            parameters.push(0xEF);
            parameters.push(system.len() as u8);
            parameters.extend(system);
        }
        DomainInstallation { privileges: self.privileges(), parameters }
    }
}

// GPC 2.3.1 11.5.2.3.7: two bytes up to 32767, else four.
fn memory_size(bytes: u32) -> Vec<u8> {
    match u16::try_from(bytes) {
        Ok(small) if small <= 0x7FFF => small.to_be_bytes().to_vec(),
        _ => bytes.to_be_bytes().to_vec(),
    }
}

/// A domain's keys on one SE. The intention to change them is recorded before PUT KEY leaves, so the
/// keys on the card are always one of two known versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DomainKeys {
    /// This version answers.
    Settled {
        /// The version.
        version: u8,
    },
    /// PUT KEY was about to be sent; the next contact tries the new version first, then the old.
    Changing {
        /// The version before.
        old: u8,
        /// The version after.
        new: u8,
    },
}

/// Where a domain on an SE stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DomainState {
    /// It has its initial keys and works for nothing else (P-5.8.3.1.1.e).
    Created,
    /// It has its owner's keys.
    Personalized,
    /// It is locked.
    Locked,
}

/// A security domain on one SE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainOnSe {
    /// Its AID.
    pub aid: Aid,
    /// Where it stands.
    pub state: DomainState,
    /// Its keys.
    pub keys: DomainKeys,
    /// When its keys were last changed.
    pub keys_since: jiff::Timestamp,
}

/// Why a domain is not deleted from an SE.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DomainDeletionRefusal {
    /// It is the issuer's.
    #[error("the issuer security domain cannot be deleted")]
    IssuerDomain,
    /// Something belongs to it.
    #[error("{} applications or load files belong to the domain and are deleted first", .0.len())]
    Occupied(Vec<Aid>),
}

/// Whether a domain may be deleted from an SE whose registry is `inventory` (P-5.8.3.3.1).
pub fn may_delete_from_se(domain: &Aid, inventory: &Inventory) -> Result<(), DomainDeletionRefusal> {
    if inventory.entry(domain).is_some_and(|entry| entry.kind == MirrorKind::IssuerDomain) {
        return Err(DomainDeletionRefusal::IssuerDomain);
    }
    let inside: Vec<Aid> = inventory.belonging_to(domain).map(|entry| entry.aid).collect();
    if inside.is_empty() { Ok(()) } else { Err(DomainDeletionRefusal::Occupied(inside)) }
}

/// Why a key change is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyChangeRefusal {
    /// The outcome of the last change is not known.
    #[error("whether the domain has key version {old} or {new} must be found out first")]
    OutcomeUnknown {
        /// The version before.
        old: u8,
        /// The version after.
        new: u8,
    },
    /// No change is under way.
    #[error("no key change is under way")]
    NotChanging,
    /// Neither version.
    #[error("key version {0} is neither the old nor the new one")]
    AnotherVersion(u8),
}

impl DomainKeys {
    /// The versions to try, in order.
    pub fn to_try(self) -> impl Iterator<Item = u8> {
        let (first, second) = match self {
            Self::Settled { version } => (version, None),
            Self::Changing { old, new } => (new, Some(old)),
        };
        std::iter::once(first).chain(second)
    }

    /// A change to `new` is about to be sent. Intending the same again changes nothing.
    pub const fn intend(self, new: u8) -> Result<Self, KeyChangeRefusal> {
        match self {
            Self::Settled { version } => Ok(Self::Changing { old: version, new }),
            Self::Changing { old, new: intended } if intended == new => Ok(Self::Changing { old, new }),
            Self::Changing { old, new } => Err(KeyChangeRefusal::OutcomeUnknown { old, new }),
        }
    }

    /// The card authenticated with `version`.
    pub const fn answered(self, version: u8) -> Result<Self, KeyChangeRefusal> {
        match self {
            Self::Settled { version: known } if known == version => Ok(self),
            Self::Changing { old, new } if version == old || version == new => Ok(Self::Settled { version }),
            Self::Settled { .. } | Self::Changing { .. } => Err(KeyChangeRefusal::AnotherVersion(version)),
        }
    }
}

impl DomainOnSe {
    /// A domain that was just created, with its initial keys.
    pub const fn created(aid: Aid, initial_version: u8, at: jiff::Timestamp) -> Self {
        Self {
            aid,
            state: DomainState::Created,
            keys: DomainKeys::Settled { version: initial_version },
            keys_since: at,
        }
    }

    /// Whether the domain goes once nothing belongs to it any more (P-5.3.1.e).
    pub fn goes_now(&self, definition: &DomainDefinition, inventory: &Inventory) -> bool {
        definition.deletion == DeletionRule::WithLastApplication
            && inventory.belonging_to(&self.aid).next().is_none()
    }

    /// Whether the keys are older than the definition's period (P-5.3.1.f).
    pub fn keys_are_due(&self, definition: &DomainDefinition, now: jiff::Timestamp) -> bool {
        let age = now.as_second().saturating_sub(self.keys_since.as_second());
        age > i64::from(definition.key_period_days) * 86_400
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::se::MirrorEntry;

    pub(crate) fn definition() -> DomainDefinition {
        DomainDefinition {
            aid: Aid::constant(b"DOMAIN"),
            load_file: Aid::constant(&[0xA0, 0, 0, 0x01, 0x51, 0x53, 0x50]),
            module: Aid::constant(&[0xA0, 0, 0, 0x01, 0x51, 0x53, 0x50, 0x41]),
            provider: "CITY".parse().unwrap(),
            mode: DomainMode::Managed,
            management: ContentManagement::None,
            space: SpaceManagement::NotFixed,
            deletion: DeletionRule::ByCommandOnly,
            key_period_days: 365,
            protocol: ChannelProtocol::Scp03 { i: 0x70 },
            state: DefinitionState::InAudit("clerk".parse().unwrap()),
        }
    }

    fn fixed(non_volatile: u32, volatile: u32) -> SpaceManagement {
        SpaceManagement::Fixed { non_volatile, volatile }
    }

    /// req: P-5.3.1.d, P-5.3.1.g
    #[test]
    fn install_parameters_per_mode_and_size() {
        use ContentManagement::{Authorised, FinalApplication, None as Nothing};
        use DomainMode::{Dap, Managed, Token};
        let scp02 = ChannelProtocol::Scp02 { i: 0x55 };
        let scp03 = ChannelProtocol::Scp03 { i: 0x70 };
        let rows = [
            (Managed, Nothing, SpaceManagement::NotFixed, scp03, "800000", "C90481020370"),
            (Managed, Authorised, SpaceManagement::NotFixed, scp03, "804000", "C90481020370"),
            (Managed, FinalApplication, SpaceManagement::NotFixed, scp02, "800200", "C90481020255"),
            (Dap, Nothing, SpaceManagement::NotFixed, scp02, "C00000", "C90481020255"),
            (Token, Nothing, SpaceManagement::NotFixed, scp02, "A00000", "C90481020255"),
            (Managed, Nothing, fixed(16_384, 512), scp03, "800000", "C90481020370EF08C7020200C8024000"),
            (Token, Nothing, fixed(65_536, 512), scp03, "A00000", "C90481020370EF0AC7020200C80400010000"),
        ];
        for (mode, management, space, protocol, privileges, parameters) in rows {
            let made = DomainDefinition { mode, management, space, protocol, ..definition() }.installation();
            assert_eq!(hex::encode_upper(made.privileges), privileges, "{mode:?} {management:?}");
            assert_eq!(hex::encode_upper(made.parameters), parameters, "{mode:?} {space:?}");
        }
    }

    /// req: P-5.3.1.c
    #[test]
    fn definitions_that_do_not_fit_together() {
        let with =
            |mode, management, space| DomainDefinition { mode, management, space, ..definition() }.check();
        let shared = SpaceManagement::NotFixed;
        assert_eq!(with(DomainMode::Managed, ContentManagement::None, shared), Ok(()));
        assert_eq!(
            with(DomainMode::Managed, ContentManagement::None, fixed(0, 10)),
            Err(DefinitionRefusal::FixedSpaceZero)
        );
        assert_eq!(
            with(DomainMode::Dap, ContentManagement::Authorised, shared),
            Err(DefinitionRefusal::ManagementNeedsModeTwo)
        );
        assert_eq!(
            with(DomainMode::Issuer, ContentManagement::None, shared),
            Err(DefinitionRefusal::IssuerDomain)
        );
    }

    #[test]
    fn four_eyes_audit() {
        let clerk = "clerk".parse().unwrap();
        let chief = "chief".parse().unwrap();
        assert_eq!(definition().audited(Ok(()), &clerk), Err(DefinitionRefusal::OwnEntry));
        let approved = definition().audited(Ok(()), &chief).unwrap();
        assert_eq!(approved.state, DefinitionState::Approved);
        assert_eq!(approved.audited(Ok(()), &chief), Err(DefinitionRefusal::NotInAudit));
    }

    /// req: P-5.3.4.b, P-5.3.4.c
    #[test]
    fn a_created_domain_changes_in_two_fields_only() {
        let two = DomainDefinition {
            deletion: DeletionRule::WithLastApplication,
            key_period_days: 30,
            ..definition()
        };
        assert_eq!(definition().changed(two.clone(), Created::OnSomeSe), Ok(two.clone()));
        let wider = DomainDefinition { space: fixed(100, 100), ..two };
        assert_eq!(
            definition().changed(wider.clone(), Created::OnSomeSe),
            Err(DefinitionRefusal::CreatedAlready)
        );
        assert_eq!(definition().changed(wider.clone(), Created::Nowhere), Ok(wider));
        assert_eq!(DomainDefinition::may_delete(Created::OnSomeSe), Err(DefinitionRefusal::CannotDelete));
        assert_eq!(DomainDefinition::may_delete(Created::Nowhere), Ok(()));
    }

    /// The keys on the card are always one of two known versions.
    #[test]
    fn a_key_change_survives_any_break() {
        let settled = DomainKeys::Settled { version: 1 };
        let changing = settled.intend(2).unwrap();
        assert_eq!(changing.to_try().collect::<Vec<_>>(), [2, 1]);
        assert_eq!(changing.intend(2), Ok(changing), "intending again changes nothing");
        assert_eq!(changing.intend(3), Err(KeyChangeRefusal::OutcomeUnknown { old: 1, new: 2 }));
        assert_eq!(changing.answered(1), Ok(settled), "PUT KEY had not happened");
        assert_eq!(changing.answered(2), Ok(DomainKeys::Settled { version: 2 }));
        assert_eq!(changing.answered(9), Err(KeyChangeRefusal::AnotherVersion(9)));
        assert_eq!(settled.to_try().collect::<Vec<_>>(), [1]);
    }

    fn registry(applications: &[u8]) -> Inventory {
        let entry = |aid, kind, domain| MirrorEntry {
            aid,
            kind,
            life_cycle: 0x07,
            privileges: [0; 3],
            load_file: None,
            domain,
            modules: vec![],
        };
        let issuer = Aid::constant(b"ISSUER");
        let inside = |last: &u8| {
            let aid = Aid::constant(&[b'A', b'P', b'P', b'L', b'I', *last]);
            entry(aid, MirrorKind::Application, Some(definition().aid))
        };
        let domains = [
            entry(issuer, MirrorKind::IssuerDomain, None),
            entry(definition().aid, MirrorKind::SecurityDomain, Some(issuer)),
        ];
        let entries = domains.into_iter().chain(applications.iter().map(inside)).collect();
        Inventory { entries, ..Inventory::default() }
    }

    /// req: P-5.8.3.3.1.b
    #[test]
    fn a_domain_goes_empty_and_the_issuers_never() {
        let domain = definition().aid;
        assert_eq!(may_delete_from_se(&domain, &registry(&[])), Ok(()));
        let occupied = may_delete_from_se(&domain, &registry(&[1, 2]));
        let listed = [1, 2].map(|last| Aid::constant(&[b'A', b'P', b'P', b'L', b'I', last]));
        assert_eq!(occupied, Err(DomainDeletionRefusal::Occupied(listed.to_vec())));
        let issuer = may_delete_from_se(&Aid::constant(b"ISSUER"), &registry(&[]));
        assert_eq!(issuer, Err(DomainDeletionRefusal::IssuerDomain));
    }

    /// Both deletion rules, before and after the last application goes.
    #[test]
    fn a_domain_goes_with_its_last_application_where_its_rule_says_so() {
        let domain = DomainOnSe::created(definition().aid, 1, jiff::Timestamp::UNIX_EPOCH);
        let rows = [
            (DeletionRule::WithLastApplication, vec![1], false),
            (DeletionRule::WithLastApplication, vec![], true),
            (DeletionRule::ByCommandOnly, vec![], false),
        ];
        for (deletion, applications, goes) in rows {
            let definition = DomainDefinition { deletion, ..definition() };
            assert_eq!(
                domain.goes_now(&definition, &registry(&applications)),
                goes,
                "{deletion:?} {applications:?}"
            );
        }
    }

    #[test]
    fn keys_are_due_after_their_period() {
        let start = jiff::Timestamp::UNIX_EPOCH;
        let domain = DomainOnSe::created(definition().aid, 1, start);
        let after = |seconds| jiff::Timestamp::from_second(seconds).unwrap();
        assert!(!domain.keys_are_due(&definition(), after(365 * 86_400)));
        assert!(domain.keys_are_due(&definition(), after(365 * 86_400 + 1)));
    }
}
