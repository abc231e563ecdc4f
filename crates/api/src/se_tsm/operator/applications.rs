//! Applications, as the staff sees them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::desk::{Listing, Verdict};
use crate::HexBytes;
use crate::ids::{ApplicationId, BatchId, DomainId, ProviderId};
use crate::se_tsm::wallet::Companion;

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
    #[serde(deserialize_with = "crate::text::line")]
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
    #[serde(deserialize_with = "crate::text::line")]
    pub reason: String,
}
