//! SE-TSM, as the operator's staff sees it: who may do what, batches, providers, security domains,
//! applications, secure elements, tasks, the audit trail.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::wallet::{Companion, TaskList};
use crate::HexBytes;
use crate::conversation::ApplicationState;
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing, StaffRole};
use crate::ids::{ApplicationId, BatchId, DomainId, ProviderId, StaffId};

use StaffRole::{
    Auditor, BusinessManager, CustomerService, Hall, ReleaseOperator, Supervisor, SystemAdministrator, Tester,
};

const ADMINISTRATION: Access = Access::Staff(&[SystemAdministrator]);
const BUSINESS: Access = Access::Staff(&[BusinessManager]);
const AUDIT: Access = Access::Staff(&[Auditor]);
const TEST: Access = Access::Staff(&[Tester]);
const RELEASE: Access = Access::Staff(&[ReleaseOperator]);
const READ: Access =
    Access::Staff(&[SystemAdministrator, BusinessManager, Auditor, Tester, ReleaseOperator, Supervisor]);
const SUPPORT: Access = Access::Staff(&[SystemAdministrator, CustomerService, Hall]);
const SUPERVISION: Access = Access::Staff(&[Supervisor]);
const ANYONE: Access = Access::Staff(&[
    SystemAdministrator,
    BusinessManager,
    Auditor,
    Tester,
    ReleaseOperator,
    CustomerService,
    Hall,
    Supervisor,
]);

/// Staff login.
pub const LOGIN: Endpoint<StaffLogin, StaffSession> =
    Endpoint::post("/operator/v1/login", Access::Public, "Opens a session of the operator's staff.");
/// Staff logout.
pub const LOGOUT: Endpoint<Nothing, Nothing> =
    Endpoint::post("/operator/v1/logout", ANYONE, "Ends the session.");
/// Own password.
pub const PASSWORD: Endpoint<PasswordChange, Nothing> =
    Endpoint::post("/operator/v1/password", ANYONE, "Changes one's own password.");
/// New staff.
pub const ADD_STAFF: Endpoint<NewStaff, StaffRecord> =
    Endpoint::post("/operator/v1/staff", ADMINISTRATION, "Adds a member of staff with a first password.");
/// New batch.
pub const ADD_BATCH: Endpoint<NewBatch, BatchRecord> =
    Endpoint::post("/operator/v1/batches", ADMINISTRATION, "Enters a number segment of secure elements.");
/// All batches.
pub const BATCHES: Endpoint<Nothing, BatchList> =
    Endpoint::get("/operator/v1/batches", READ, "The batches of secure elements.");
/// New provider.
pub const ADD_PROVIDER: Endpoint<NewProvider, ProviderRecord> = Endpoint::post(
    "/operator/v1/providers",
    BUSINESS,
    "Registers a provider; it stays in audit until approved.",
);
/// All providers.
pub const PROVIDERS: Endpoint<ProviderQuery, ProviderList> =
    Endpoint::get("/operator/v1/providers", READ, "The providers, by state.");
/// Approval of a provider.
pub const AUDIT_PROVIDER: Endpoint<Decision, ProviderApproval> = Endpoint::post(
    "/operator/v1/providers/{provider}/audit",
    AUDIT,
    "Approves or refuses a provider; approval assigns its institution number and account.",
);
/// Blacklisting of a provider.
pub const BLACKLIST: Endpoint<BlacklistEntry, ProviderRecord> = Endpoint::post(
    "/operator/v1/providers/{provider}/blacklist",
    BUSINESS,
    "Puts a provider on the blacklist or takes it off.",
);
/// New domain.
pub const ADD_DOMAIN: Endpoint<NewDomain, DomainRecord> =
    Endpoint::post("/operator/v1/domains", BUSINESS, "Defines a security domain and assigns its AID.");
/// All domains.
pub const DOMAINS: Endpoint<Nothing, DomainList> =
    Endpoint::get("/operator/v1/domains", READ, "The security-domain definitions.");
/// Audit of a domain.
pub const AUDIT_DOMAIN: Endpoint<Decision, DomainRecord> = Endpoint::post(
    "/operator/v1/domains/{domain}/audit",
    AUDIT,
    "Passes or fails a security-domain definition.",
);
/// Change of a domain.
pub const CHANGE_DOMAIN: Endpoint<DomainChange, DomainRecord> =
    Endpoint::post("/operator/v1/domains/{domain}", BUSINESS, "Changes a security-domain definition.");
/// Removal of a domain definition.
pub const REMOVE_DOMAIN: Endpoint<Nothing, Nothing> = Endpoint::post(
    "/operator/v1/domains/{domain}/removal",
    BUSINESS,
    "Removes a security-domain definition that no secure element holds.",
);
/// All applications.
pub const APPLICATIONS: Endpoint<Nothing, ApplicationList> =
    Endpoint::get("/operator/v1/applications", READ, "The application records.");
/// Audit of an application.
pub const AUDIT_APPLICATION: Endpoint<Decision, ApplicationRecord> =
    Endpoint::post("/operator/v1/applications/{application}/audit", AUDIT, "Passes or fails an application.");
/// Assignment of AIDs.
pub const ASSIGN_AIDS: Endpoint<Nothing, ApplicationRecord> = Endpoint::post(
    "/operator/v1/applications/{application}/aids",
    BUSINESS,
    "Assigns package, module and instance AIDs.",
);
/// Definition of an application.
pub const DEFINE: Endpoint<ApplicationDefinition, ApplicationRecord> = Endpoint::post(
    "/operator/v1/applications/{application}/definition",
    BUSINESS,
    "Enters domain, flags, personalisation and what the catalogue shows.",
);
/// Test result of an application.
pub const TEST_APPLICATION: Endpoint<TestResult, ApplicationRecord> = Endpoint::post(
    "/operator/v1/applications/{application}/test",
    TEST,
    "Records a test and the batches it supports.",
);
/// Confirmation of the test.
pub const CONFIRM_TEST: Endpoint<Decision, ApplicationRecord> = Endpoint::post(
    "/operator/v1/applications/{application}/test/confirmation",
    AUDIT,
    "Confirms or rejects a recorded test.",
);
/// Publication.
pub const PUBLISH: Endpoint<Publication, ApplicationRecord> = Endpoint::post(
    "/operator/v1/applications/{application}/publication",
    RELEASE,
    "Publishes a tested application.",
);
/// Suspension and resumption.
pub const SUSPEND: Endpoint<Suspension, ApplicationRecord> = Endpoint::post(
    "/operator/v1/applications/{application}/suspension",
    RELEASE,
    "Suspends or resumes an application.",
);
/// Archive.
pub const ARCHIVE: Endpoint<Nothing, ApplicationRecord> = Endpoint::post(
    "/operator/v1/applications/{application}/archive",
    RELEASE,
    "Starts the archive, and finishes it when no secure element holds the application.",
);
/// One secure element.
pub const ELEMENT: Endpoint<Nothing, ElementRecord> =
    Endpoint::get("/operator/v1/elements/{se_id}", SUPPORT, "The record of a secure element.");
/// Its tasks.
pub const ELEMENT_TASKS: Endpoint<Nothing, TaskList> = Endpoint::get(
    "/operator/v1/elements/{se_id}/tasks",
    SUPPORT,
    "Running, waiting and past tasks of a secure element, each explained.",
);
/// Loss list.
pub const REPORT_LOSS: Endpoint<LossReport, ElementRecord> = Endpoint::post(
    "/operator/v1/elements/{se_id}/loss",
    SUPPORT,
    "Puts a secure element on the loss list or takes it off.",
);
/// State of the bound number.
pub const NUMBER_STATE: Endpoint<NumberState, ElementRecord> = Endpoint::post(
    "/operator/v1/elements/{se_id}/number",
    SUPPORT,
    "Records that the bound number was cancelled, or is in the network.",
);
/// Termination of a task.
pub const TERMINATE: Endpoint<Nothing, Nothing> =
    Endpoint::post("/operator/v1/tasks/{task}/termination", SUPPORT, "Stops a running or waiting task.");
/// The audit trail.
pub const AUDIT_TRAIL: Endpoint<AuditQuery, AuditPage> =
    Endpoint::get("/operator/v1/audit", SUPERVISION, "The audit trail, oldest first.");

/// Every endpoint for the staff.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![
        LOGIN.describe(),
        LOGOUT.describe(),
        PASSWORD.describe(),
        ADD_STAFF.describe(),
        ADD_BATCH.describe(),
        BATCHES.describe(),
        ADD_PROVIDER.describe(),
        PROVIDERS.describe(),
        AUDIT_PROVIDER.describe(),
        BLACKLIST.describe(),
        ADD_DOMAIN.describe(),
        DOMAINS.describe(),
        AUDIT_DOMAIN.describe(),
        CHANGE_DOMAIN.describe(),
        REMOVE_DOMAIN.describe(),
        APPLICATIONS.describe(),
        AUDIT_APPLICATION.describe(),
        ASSIGN_AIDS.describe(),
        DEFINE.describe(),
        TEST_APPLICATION.describe(),
        CONFIRM_TEST.describe(),
        PUBLISH.describe(),
        SUSPEND.describe(),
        ARCHIVE.describe(),
        ELEMENT.describe(),
        ELEMENT_TASKS.describe(),
        REPORT_LOSS.describe(),
        NUMBER_STATE.describe(),
        TERMINATE.describe(),
        AUDIT_TRAIL.describe(),
    ]
}

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

/// The life cycle of an application record (P-5.4.4, D-2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationLifeCycle {
    /// Uploaded.
    Initial,
    /// Audited, with AIDs.
    Audited,
    /// The audit failed.
    AuditFailed,
    /// Defined.
    Defined,
    /// Tested, and waits for its confirmation.
    AwaitsConfirmation,
    /// Tested and confirmed.
    Tested,
    /// Published.
    Published,
    /// Published and suspended.
    Suspended,
    /// No new downloads; being removed.
    ArchiveStarted,
    /// No secure element holds it.
    ArchiveFinished,
}

/// One module of an application with the AIDs assigned to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ModuleRecord {
    /// The module's AID in the CAP file.
    pub module_aid: HexBytes,
    /// The instance's AID.
    pub instance_aid: HexBytes,
}

/// An application record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ApplicationRecord {
    /// Its number in our books.
    pub application: ApplicationId,
    /// The AID of the application: that of the main module's instance; absent before assignment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aid: Option<HexBytes>,
    /// Its life cycle.
    pub life_cycle: ApplicationLifeCycle,
    /// The provider.
    pub provider: ProviderId,
    /// Its name.
    pub name: String,
    /// The provider's version.
    pub version: String,
    /// The managed version number (P-5.4.4.1.c), once audited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_version: Option<String>,
    /// The load file's AID.
    pub load_file_aid: HexBytes,
    /// The modules, the main one first.
    pub modules: Vec<ModuleRecord>,
    /// SHA-1 of the CAP file, for conformance.
    pub sha1: HexBytes,
    /// SHA-256 of the CAP file, which is what is relied on.
    pub sha256: HexBytes,
    /// Space for the program on the card, in bytes.
    pub code_bytes: u32,
    /// How often it was downloaded.
    pub downloads: u64,
}

/// The application records.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ApplicationList {
    /// The records.
    pub applications: Vec<ApplicationRecord>,
}

/// Which secure channel carries the content commands (P-5.8.4.1.2.a).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ManagingDomain {
    /// The issuer domain.
    Issuer,
    /// The application's own domain.
    Own,
}

/// How an application gets its personalisation (P-5.8.4.6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PersonalisationWay {
    /// It needs none.
    None,
    /// The provider's SP-TSM goes on with the conversation.
    BySpTsm,
}

/// What remains after a deletion (P-5.4.6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeletionMode {
    /// Nothing.
    Full,
    /// The program.
    InstanceOnly,
}

/// Whether an application holds money.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ValueBearing {
    /// It holds none.
    NoValue,
    /// It is a stored-value purse: deletion needs its issuer's word that nothing is left.
    StoredValue,
}

/// Who may unlock an application.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnlockPolicy {
    /// A staffed hall.
    HallOnly,
    /// The wallet.
    ClientOnly,
    /// Both.
    HallOrClient,
}

/// Whether the provider opens the application after personalisation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Opening {
    /// It is useable at once.
    NotNeeded,
    /// It waits for the provider's open notice.
    ByNotice,
}

/// The definition of an application.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ApplicationDefinition {
    /// The domain that the instances belong to; the issuer domain when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<DomainId>,
    /// Which secure channel loads and deletes.
    pub managing_domain: ManagingDomain,
    /// How it is personalised.
    pub personalisation: PersonalisationWay,
    /// Whether it must be opened.
    pub opening: Opening,
    /// What remains after a deletion.
    pub deletion_mode: DeletionMode,
    /// Whether it holds money.
    pub value: ValueBearing,
    /// Who may unlock it.
    pub unlock: UnlockPolicy,
    /// The application's own install parameters.
    pub install_parameters: HexBytes,
    /// Privileges of the main instance.
    #[serde(default)]
    pub privileges: HexBytes,
    /// Space of the instance that stays, in bytes.
    pub instance_bytes: u32,
    /// DAP signature of the domain's owner, for mode three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dap_signature: Option<HexBytes>,
    /// What the catalogue shows.
    pub catalogue: CatalogueText,
}

/// What the catalogue shows of an application.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CatalogueText {
    /// Its class.
    pub class: String,
    /// Its icon, as a data URL of an SVG, or empty.
    pub icon: String,
    /// What it costs, in words.
    pub charging: String,
    /// What it does.
    pub introduction: String,
    /// The companion application, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub companion: Option<Companion>,
}

/// The result of a test (P-5.4.4.3).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct TestResult {
    /// The verdict.
    pub verdict: Verdict,
    /// What was tested.
    pub reason: String,
    /// The batches it supports.
    pub batches: Vec<BatchId>,
    /// The numbers that may use it during the test.
    #[serde(default)]
    pub test_numbers: Vec<String>,
}

/// A publication (P-5.4.4.4).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Publication {
    /// Only these batches, of those tested; all when empty.
    #[serde(default)]
    pub batches: Vec<BatchId>,
    /// Only these users; everyone when empty.
    #[serde(default)]
    pub users: Vec<String>,
    /// Its place among the recommendations; absent when it is not recommended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommendation: Option<u32>,
}

/// A suspension or its end (B-8.3.1).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Suspension {
    /// On or off.
    pub listing: Listing,
    /// The reason.
    pub reason: String,
}

/// A secure element, for the staff.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ElementRecord {
    /// The SE-ID.
    pub se_id: HexBytes,
    /// The batch.
    pub batch: BatchId,
    /// The bound number, masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msisdn: Option<String>,
    /// Whether it is on the loss list.
    pub loss: Listing,
    /// Free space as last observed, in bytes.
    pub free_bytes: u32,
    /// When it was registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub registered_at: Option<Timestamp>,
    /// The security domains on it.
    pub domains: Vec<HexBytes>,
    /// The load files on it.
    pub load_files: Vec<HexBytes>,
    /// The applications on it.
    pub applications: Vec<ElementApplication>,
}

/// An application on a secure element, for the staff.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ElementApplication {
    /// The application.
    pub aid: HexBytes,
    /// Its state.
    pub state: ApplicationState,
}

/// A loss report or its withdrawal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LossReport {
    /// On or off.
    pub listing: Listing,
    /// The reason.
    pub reason: String,
}

/// What became of a bound number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NumberStanding {
    /// In the network.
    InNetwork,
    /// Cancelled.
    Cancelled,
}

/// The state of a bound number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NumberState {
    /// What became of it.
    pub standing: NumberStanding,
}

/// Which entries of the audit trail.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct AuditQuery {
    /// The chain of one person's actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The chain of what happened to one secure element.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub se_id: Option<HexBytes>,
    /// Entries after this number.
    #[serde(default)]
    pub after: u64,
}

/// Some entries of the audit trail.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<AuditEntry>,
}

/// One entry of the audit trail.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its number.
    pub number: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// How it ended.
    pub result: String,
    /// The hash of the entry, which the next one carries on.
    pub hash: HexBytes,
}
