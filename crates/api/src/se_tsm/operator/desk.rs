//! People, batches, providers and security domains, as the staff sees them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::HexBytes;
use crate::endpoint::StaffRole;
use crate::ids::{BatchId, DomainId, ProviderId, StaffId};

/// A login with name and password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StaffLogin {
    /// The account.
    pub account: String,
    /// The password.
    pub password: String,
}

/// The password stays out of every log.
impl std::fmt::Debug for StaffLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StaffLogin").field("account", &self.account).finish_non_exhaustive()
    }
}

/// A change of one's own password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PasswordChange {
    /// The present password.
    pub old: String,
    /// The new one.
    pub new: String,
}

/// Passwords stay out of every log.
impl std::fmt::Debug for PasswordChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordChange")
    }
}

/// An open session of staff or of a provider.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StaffSession {
    /// The bearer.
    pub session: String,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// The roles; empty for a provider.
    pub roles: Vec<StaffRole>,
    /// Whether the first password must be changed before anything else.
    pub password_change_required: bool,
}

/// A new member of staff.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewStaff {
    /// The account.
    pub account: String,
    /// The first password; must be changed at the first login.
    pub first_password: String,
    /// The roles.
    pub roles: Vec<StaffRole>,
}

/// The password stays out of every log.
impl std::fmt::Debug for NewStaff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewStaff")
            .field("account", &self.account)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

/// A member of staff.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StaffRecord {
    /// The person's number.
    pub staff: StaffId,
    /// The account.
    pub account: String,
    /// The roles.
    pub roles: Vec<StaffRole>,
}

/// A new batch: a number segment of secure elements (P-5.8.1).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NewBatch {
    /// Its name.
    #[serde(deserialize_with = "crate::text::line")]
    pub name: String,
    /// The first SE-ID of the segment.
    pub first_se_id: HexBytes,
    /// The last SE-ID of the segment.
    pub last_se_id: HexBytes,
    /// Where the secure element sits.
    pub form: SeForm,
    /// The chip.
    pub chip: String,
    /// The version of its multi-application platform.
    pub platform_version: String,
    /// The Java Card version.
    pub java_version: String,
    /// Free space of a new element, in bytes.
    pub free_bytes: u32,
    /// The AID of the issuer security domain.
    pub isd_aid: HexBytes,
    /// How the issuer security domain's secure channel works.
    pub secure_channel: SecureChannelProfile,
    /// The name of the issuer domain's root key in the key service.
    pub isd_key: String,
    /// The name of the root key from which domains get their first keys.
    pub initial_domain_key: String,
    /// The load files it leaves the factory with.
    #[serde(default)]
    pub preset_load_files: Vec<PresetLoadFile>,
}

/// Where a secure element sits (B-5.2.1.a).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SeForm {
    /// In the SIM card.
    Sim,
    /// In the terminal.
    Embedded,
    /// Outside, in a carrier of its own.
    External,
    /// A stick-on card: no registration (P-5.5.2.f).
    StickOn,
}

/// The secure channel of a domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SecureChannelProfile {
    /// The protocol.
    pub protocol: SecureChannelProtocol,
    /// Its options, the byte `i`: SCP02 15, 55, 35, 75; SCP03 00 to 70.
    pub options: u8,
    /// The key version.
    pub key_version: u8,
    /// The security level for management commands, as configured; 02 is read as 03 (D-4).
    pub level: u8,
}

/// The secure channel protocol.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecureChannelProtocol {
    /// SCP02.
    Scp02,
    /// SCP03.
    Scp03,
}

/// A load file that a batch leaves the factory with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PresetLoadFile {
    /// Its AID.
    pub aid: HexBytes,
    /// Where it is kept.
    pub memory: PresetMemory,
}

/// Where a preset load file is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PresetMemory {
    /// Cannot be deleted.
    ReadOnly,
    /// Can be deleted.
    Rewritable,
}

/// A batch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct BatchRecord {
    /// Its number.
    pub batch: BatchId,
    /// What was entered.
    #[serde(flatten)]
    pub entry: NewBatch,
}

/// All batches.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct BatchList {
    /// The batches.
    pub batches: Vec<BatchRecord>,
}

/// A new provider (P-5.6).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NewProvider {
    /// Its name.
    #[serde(deserialize_with = "crate::text::line")]
    pub name: String,
    /// What kind of institution it is.
    pub kind: String,
    /// Its commercial registration number.
    pub registration_number: String,
    /// The SHA-256 of its SP-TSM's client certificate.
    pub certificate_sha256: HexBytes,
    /// The public key of its message signatures: an uncompressed P-256 point.
    pub signature_key: HexBytes,
    /// Where its SP-TSM is reached: `name:port`.
    pub sp_tsm_address: String,
}

/// How a provider stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProviderState {
    /// Waits for the audit.
    InAudit,
    /// Approved.
    Approved,
    /// Refused.
    Refused,
    /// Cooperation has ended.
    Cancelled,
}

/// Which providers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ProviderQuery {
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ProviderState>,
}

/// A provider.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProviderRecord {
    /// Its number in our books.
    pub provider: ProviderId,
    /// The institution number, once approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub institution: Option<String>,
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: ProviderState,
    /// Whether it is on the blacklist.
    pub blacklisted: bool,
}

/// All providers asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProviderList {
    /// The providers.
    pub providers: Vec<ProviderRecord>,
}

/// The answer to a provider's audit.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProviderApproval {
    /// The provider.
    #[serde(flatten)]
    pub record: ProviderRecord,
    /// Its first login, told once: must be changed at the first login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_login: Option<StaffLogin>,
}

/// The first password stays out of every log.
impl std::fmt::Debug for ProviderApproval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProviderApproval").field("record", &self.record).finish_non_exhaustive()
    }
}

/// A pass or a refusal with its reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// The reason, which the record keeps.
    #[serde(deserialize_with = "crate::text::line")]
    pub reason: String,
}

/// A verdict.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Passed.
    Pass,
    /// Failed.
    Fail,
}

/// A change of the blacklist.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct BlacklistEntry {
    /// On or off.
    pub listing: Listing,
    /// The reason.
    #[serde(deserialize_with = "crate::text::line")]
    pub reason: String,
}

/// On a list or off it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Listing {
    /// On the list.
    On,
    /// Off the list.
    Off,
}

/// A security domain's management (D-16).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DomainMode {
    /// Mode two, the operator manages content through the issuer domain.
    Plain,
    /// Mode two with authorised management: the domain's owner loads by itself.
    AuthorizedManagement,
    /// Mode three: load files carry the owner's DAP signature.
    DapVerification,
    /// Mode four: the owner loads with the operator's tokens.
    DelegatedManagement,
}

/// How a domain's space is managed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "space", rename_all = "snake_case")]
pub enum DomainSpace {
    /// Uses the element's free space.
    NotFixed,
    /// Has its own.
    Fixed {
        /// How much, in bytes.
        bytes: u32,
    },
}

/// When a domain goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DomainDeletionRule {
    /// With its last application.
    WithLastApplication,
    /// By a command of its own.
    Separately,
}

/// A new security-domain definition (P-5.3).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NewDomain {
    /// The owner.
    pub provider: ProviderId,
    /// Its name.
    #[serde(deserialize_with = "crate::text::line")]
    pub name: String,
    /// Its mode.
    pub mode: DomainMode,
    /// Its space.
    #[serde(flatten)]
    pub space: DomainSpace,
    /// When it goes.
    pub deletion_rule: DomainDeletionRule,
    /// After how many days its keys are replaced.
    pub key_period_days: u32,
    /// Its secure channel after the owner's keys are in.
    pub secure_channel: SecureChannelProfile,
    /// The approval material, by reference.
    pub documents: Vec<String>,
}

/// A change of a security-domain definition: only what is given changes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct DomainChange {
    /// Its space; not once a secure element has the domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<DomainSpace>,
    /// When it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_rule: Option<DomainDeletionRule>,
    /// After how many days its keys are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_period_days: Option<u32>,
}

/// A security-domain definition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DomainRecord {
    /// Its number in our books.
    pub domain: DomainId,
    /// Its AID.
    pub aid: HexBytes,
    /// How it stands.
    pub state: AuditState,
    /// The owner.
    pub provider: ProviderId,
    /// Its mode.
    pub mode: DomainMode,
    /// Its space.
    #[serde(flatten)]
    pub space: DomainSpace,
    /// When it goes.
    pub deletion_rule: DomainDeletionRule,
    /// After how many days its keys are replaced.
    pub key_period_days: u32,
    /// Its secure channel.
    pub secure_channel: SecureChannelProfile,
    /// The privileges made from the mode.
    pub privileges: HexBytes,
    /// The install parameters made from mode, protocol and space.
    pub install_parameters: HexBytes,
}

/// How an audited record stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditState {
    /// Waits for the audit.
    InAudit,
    /// Passed.
    Passed,
    /// Failed.
    Failed,
}

/// All security-domain definitions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DomainList {
    /// The definitions.
    pub domains: Vec<DomainRecord>,
}
