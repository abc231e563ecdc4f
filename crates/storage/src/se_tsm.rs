//! The store of the SE-TSM.

pub mod migrations;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tsm_domain::application::{Application, DeletionMode, SubscriberState};
use tsm_domain::bytes::Sha256Digest;
use tsm_domain::card::LockChange;
use tsm_domain::provider::Provider;
use tsm_domain::se::{Batch, Binding, Inventory, LossReport, NumberChange, SeRecord, SeStanding};
use tsm_domain::se_application::{Actor, SeApplication};
use tsm_domain::security_domain::{DomainDefinition, DomainOnSe};
use tsm_domain::staff::Role;
use tsm_domain::subscription::Subscription;
use tsm_domain::task::{Task, TaskState};
use tsm_domain::user::TokenRecord;
use tsm_domain::{
    BatchId, ConversationId, Msisdn, OperatorId, ProviderId, SeId, SubscriptionId, TaskId, TicketId,
};
use tsm_iso7816::Aid;

pub use migrations::{MigrationOrdered, Migrations};

use crate::error::{Result, StorageError};
use crate::shared::{
    Chains, ConversationEnd, Conversations, Delivery, Fence, Incident, Incidents, Note, Outbox, Sessions,
};

/// How often a record was changed; 0 is the revision before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// A record and its revision. Putting it back with that revision fails if someone changed it meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The record.
    pub value: T,
    /// Its revision.
    pub revision: Revision,
}

/// A person's account at the portals.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaffAccount {
    /// The account name.
    pub id: OperatorId,
    /// The provider for whom the person works; `None` for the platform's own people.
    pub provider: Option<ProviderId>,
    /// The roles, from which rights follow; empty for a provider's person.
    pub roles: BTreeSet<Role>,
    /// The password's hash in PHC form.
    pub password_hash: String,
    /// Whether the next login must change it.
    pub password_state: PasswordState,
}

/// Whether a password was chosen by its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PasswordState {
    /// Assigned: the first login must change it.
    Assigned,
    /// The owner's own.
    Own,
}

/// What is known of a phone number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberRecord {
    /// The number.
    pub number: Msisdn,
    /// Its standing with the carrier.
    pub state: SubscriberState,
    /// Its province.
    pub province: Option<String>,
    /// Whether it is set in the system as a number for tests (P-5.4.4.3.d).
    pub purpose: NumberPurpose,
}

/// What a number is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NumberPurpose {
    /// A customer's.
    Customer,
    /// For tests.
    Test,
}

/// A registration: the SE gets a TOKEN, and a number where one is known (D-24).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The SE.
    pub se: SeId,
    /// The number to bind; `None` registers the SEID alone.
    pub number: Option<Msisdn>,
    /// From whom the binding may be taken.
    pub from: BindingFrom,
    /// The TOKEN, sealed.
    pub token: TokenRecord,
    /// When.
    pub at: jiff::Timestamp,
    /// For the audit trail.
    pub notes: Vec<Note>,
}

/// From whom a registration may take the binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindingFrom {
    /// Nobody: the SE must be free, or bound to this very number.
    Nobody,
    /// This number, which has left the network (table S.5, case 3b).
    Number(Msisdn),
}

/// The result of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// It is bound now, or the SEID alone is registered.
    Done(SeRecord),
    /// It is bound to this other number. Nothing changed.
    BoundTo(Msisdn),
}

/// The result of ordering a change of the bound number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NumberChangeOrdered {
    /// It is under way, in place of any that was, or it was carried out before.
    Accepted(SeRecord),
    /// The SE is bound to neither of the two numbers. Nothing changed.
    BoundElsewhere,
}

/// The result of a log-off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unbound {
    /// The binding is released and the TOKEN forgotten.
    Done,
    /// It was not bound to that number.
    NotBound,
    /// These applications are still subscribed.
    Subscribed(Vec<Aid>),
}

/// An application on an SE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationOnSe {
    /// The application.
    pub application: Aid,
    /// The software version that is on the SE, or is being brought.
    pub version: String,
    /// Where it stands.
    pub record: SeApplication,
    /// When it last changed.
    pub changed_at: jiff::Timestamp,
    /// What its SP-TSM said last of the application's own lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_lock: Option<LockChange>,
    /// The place of the last word that its SP-TSM said, among all that it says of the application on the SE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_word: Option<u64>,
    /// For whom the platform has locked it in the card's registry, until the card is seen without that lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_for: Option<Actor>,
}

/// What a conversation is about to do to the SE. It is durable before the commands leave; while it is
/// unknown, the next contact observes first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intended {
    /// Create a security domain.
    CreateDomain(Aid),
    /// Replace a domain's keys.
    ReplaceKeys {
        /// The domain.
        domain: Aid,
        /// The new version.
        version: u8,
    },
    /// Load and install an application.
    Download(Aid),
    /// Personalise an application.
    Personalise(Aid),
    /// Delete an application.
    Delete(Aid, DeletionMode),
    /// Delete a domain.
    DeleteDomain(Aid),
    /// Lock an application.
    Lock(Aid),
    /// Unlock an application.
    Unlock(Aid),
    /// Write number and TOKEN.
    WriteRegistration,
    /// Write this number in place of the bound one.
    ChangeNumber(Msisdn),
    /// Hand the conversation over to the provider's SP-TSM.
    HandOver(ProviderId),
}

/// Whether the intended was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// Nobody knows yet.
    Unknown,
    /// The card proved that it was done.
    Done,
    /// The card proved that it was not done.
    NotDone,
}

/// A row of the journal of intentions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intention {
    /// The conversation.
    pub conversation: ConversationId,
    /// Its number in the conversation.
    pub number: u32,
    /// What is intended.
    pub what: Intended,
    /// Whether it was done.
    pub outcome: Outcome,
    /// When it was intended.
    pub at: jiff::Timestamp,
}

/// One change of what is known about an SE, stored as a whole or not at all. Every part is a row that is put
/// by its key, so storing the same change again changes nothing but the journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeChange {
    /// What was seen on the SE, and when.
    pub observed: Option<(Inventory, jiff::Timestamp)>,
    /// The number that the SE is bound to from now on. It ends the change of number that is under way.
    pub renumbered: Option<Binding>,
    /// Applications on the SE.
    pub applications: Vec<ApplicationOnSe>,
    /// Security domains on the SE.
    pub domains: Vec<DomainOnSe>,
    /// Security domains that are gone.
    pub removed_domains: Vec<Aid>,
    /// Subscriptions.
    pub subscriptions: Vec<Subscription>,
    /// Intentions, new or resolved.
    pub intentions: Vec<Intention>,
    /// The TOKENs.
    pub token: Option<TokenRecord>,
    /// Incidents.
    pub incidents: Vec<Incident>,
    /// Messages to send.
    pub deliveries: Vec<Delivery>,
    /// Journal entries.
    pub notes: Vec<Note>,
    /// The end of the conversation, which also gives the lease back.
    pub end: Option<ConversationEnd>,
}

/// A ticket for one download or deletion (B-8.5.2.a, B-8.5.3.a).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Its identity, unguessable.
    pub id: TicketId,
    /// The SE.
    pub se: SeId,
    /// The application.
    pub application: Aid,
    /// What it allows.
    pub allows: TicketAllows,
    /// When it ends.
    pub expires_at: jiff::Timestamp,
    /// The conversation that used it.
    pub used_by: Option<ConversationId>,
}

/// What a ticket allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TicketAllows {
    /// A download.
    Download,
    /// A deletion.
    Deletion,
}

/// The result of using a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TicketUse {
    /// It counts. The same conversation may use it again.
    Granted(Ticket),
    /// There is none, or it has ended.
    Unknown,
    /// Another conversation used it.
    UsedBy(ConversationId),
}

/// A change of the loss list about one SE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LossChange {
    /// Its number: one more than the SE's record counts.
    pub number: u64,
    /// How the SE stands afterwards.
    pub standing: SeStanding,
    /// The report, while there is one.
    pub loss: Option<LossReport>,
}

impl LossChange {
    /// The record after the change.
    pub(crate) fn of(self, record: SeRecord) -> Result<SeRecord> {
        if record.loss_changes.checked_add(1) != Some(self.number) {
            return Err(StorageError::conflict("change of the loss list", record.se));
        }
        Ok(SeRecord { standing: self.standing, loss: self.loss, loss_changes: self.number, ..record })
    }
}

/// The store of the SE-TSM.
#[async_trait]
pub trait SeTsmStore: Conversations + Sessions + Outbox + Incidents + Chains + Migrations {
    // Providers, staff, applications, domains.

    /// Puts a provider that has `revision` now; gives its new revision.
    async fn put_provider(&self, provider: Provider, revision: Revision) -> Result<Revision>;
    /// A provider.
    async fn provider(&self, id: &ProviderId) -> Result<Option<Versioned<Provider>>>;
    /// All providers, by number.
    async fn providers(&self) -> Result<Vec<Versioned<Provider>>>;
    /// Puts a person's account.
    async fn put_staff(&self, account: StaffAccount, revision: Revision) -> Result<Revision>;
    /// A person's account.
    async fn staff(&self, id: &OperatorId) -> Result<Option<Versioned<StaffAccount>>>;
    /// Keeps an uploaded file under its SHA-256.
    async fn put_blob(&self, content: Arc<[u8]>) -> Result<Sha256Digest>;
    /// An uploaded file. A file whose content does not fit its hash any more is [`crate::StorageError::Corrupt`].
    async fn blob(&self, hash: Sha256Digest) -> Result<Option<Arc<[u8]>>>;
    /// Puts an application. An AID that another application or domain uses is a conflict.
    async fn put_application(&self, application: Application, revision: Revision) -> Result<Revision>;
    /// An application.
    async fn application(&self, aid: Aid) -> Result<Option<Versioned<Application>>>;
    /// All applications, by AID.
    async fn applications(&self) -> Result<Vec<Versioned<Application>>>;
    /// Puts a domain definition. An AID in use is a conflict.
    async fn put_domain(&self, definition: DomainDefinition, revision: Revision) -> Result<Revision>;
    /// A domain definition.
    async fn domain(&self, aid: Aid) -> Result<Option<Versioned<DomainDefinition>>>;
    /// All domain definitions, by AID.
    async fn domains(&self) -> Result<Vec<Versioned<DomainDefinition>>>;
    /// All AIDs in use, for allocation.
    async fn used_aids(&self) -> Result<Vec<Aid>>;
    /// On how many SEs a domain is.
    async fn domain_holders(&self, aid: Aid) -> Result<u64>;
    /// On how many SEs something of an application is.
    async fn application_holders(&self, aid: Aid) -> Result<u64>;

    // Batches, SEs, numbers.

    /// Puts a batch. Overlapping segments are refused.
    async fn put_batch(&self, batch: Batch) -> Result<()>;
    /// A batch.
    async fn batch(&self, id: &BatchId) -> Result<Option<Batch>>;
    /// All batches.
    async fn batches(&self) -> Result<Vec<Batch>>;
    /// The batch that an SEID belongs to.
    async fn batch_of(&self, se: SeId) -> Result<Option<Batch>>;
    /// Keeps a new SE's record, or gives the one that is there.
    async fn add_se(&self, record: SeRecord) -> Result<SeRecord>;
    /// An SE.
    async fn se(&self, se: SeId) -> Result<Option<SeRecord>>;
    /// SEs in order, from `after` on.
    async fn ses(&self, after: Option<SeId>, limit: usize) -> Result<Vec<SeRecord>>;
    /// The SEs bound to a number.
    async fn ses_of(&self, number: &Msisdn) -> Result<Vec<SeRecord>>;
    /// Registers an SE: binding and TOKEN together. Never two numbers on one SE.
    async fn register_se(&self, registration: Registration) -> Result<Registered>;
    /// Orders a change of the bound number. The binding stays until the SE shows the new number.
    async fn order_number_change(
        &self,
        se: SeId,
        change: NumberChange,
        notes: Vec<Note>,
    ) -> Result<NumberChangeOrdered>;
    /// Releases a binding when nothing is subscribed by that number on the SE.
    async fn unbind_se(&self, se: SeId, number: &Msisdn, notes: Vec<Note>) -> Result<Unbound>;
    /// Makes the next change of the loss list about an SE, with those who are told. One that is not the next is a
    /// conflict.
    async fn set_standing(
        &self,
        se: SeId,
        change: LossChange,
        deliveries: Vec<Delivery>,
        notes: Vec<Note>,
    ) -> Result<()>;
    /// The TOKENs of an SE, sealed.
    async fn token(&self, se: SeId) -> Result<Option<TokenRecord>>;
    /// Keeps the TOKENs of a registered SE.
    async fn put_token(&self, se: SeId, token: TokenRecord) -> Result<()>;
    /// Keeps what is known of a number.
    async fn put_number(&self, record: NumberRecord) -> Result<()>;
    /// What is known of a number.
    async fn number(&self, number: &Msisdn) -> Result<Option<NumberRecord>>;
    /// All numbers for tests.
    async fn test_numbers(&self) -> Result<BTreeSet<Msisdn>>;

    // What is on an SE.

    /// Stores a change about the SE whose link `fence` holds.
    async fn commit(&self, fence: Fence, change: SeChange) -> Result<()>;
    /// The applications on an SE.
    async fn applications_on(&self, se: SeId) -> Result<Vec<ApplicationOnSe>>;
    /// The security domains on an SE.
    async fn domains_on(&self, se: SeId) -> Result<Vec<DomainOnSe>>;
    /// The intentions about an SE whose outcome is not known, oldest first.
    async fn open_intentions(&self, se: SeId) -> Result<Vec<Intention>>;
    /// The subscriptions on an SE.
    async fn subscriptions_of(&self, se: SeId) -> Result<Vec<Subscription>>;
    /// A subscription.
    async fn subscription(&self, id: SubscriptionId) -> Result<Option<Subscription>>;

    // Tickets and tasks.

    /// Keeps a ticket.
    async fn put_ticket(&self, ticket: Ticket) -> Result<()>;
    /// Uses a ticket for a conversation.
    async fn use_ticket(&self, id: TicketId, by: ConversationId, now: jiff::Timestamp) -> Result<TicketUse>;
    /// Puts a task at the end of its SE's queue.
    async fn enqueue_task(&self, task: Task) -> Result<()>;
    /// Starts the next due task of an SE; `None` when none is due or one has the link.
    async fn start_task(&self, se: SeId, now: jiff::Timestamp) -> Result<Option<Task>>;
    /// Ends a task. Ending it again changes nothing.
    async fn finish_task(&self, se: SeId, id: TaskId, state: TaskState) -> Result<()>;
    /// The running task and those that wait, in order.
    async fn tasks_of(&self, se: SeId) -> Result<Vec<Task>>;
}

impl std::fmt::Debug for StaffAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StaffAccount")
            .field("id", &self.id)
            .field("provider", &self.provider)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

/// The record with a change of number under way; `None` where it is about neither number. A change that was
/// carried out before changes nothing, also when its order comes again while a later change is under way.
pub(crate) fn with_number_change(record: SeRecord, change: NumberChange) -> Option<SeRecord> {
    let binding = record.binding.as_ref()?;
    let bound = binding.number.clone();
    if bound == change.to {
        return match &record.number_change {
            None => Some(record),
            // It is taken back. The card may hold the new number already.
            Some(under_way) if under_way.to == change.from => {
                Some(SeRecord { number_change: Some(NumberChange { from: bound, ..change }), ..record })
            }
            Some(_) => binding.formerly.contains(&change.from).then_some(record),
        };
    }
    (bound == change.from).then_some(SeRecord { number_change: Some(change), ..record })
}

impl<T> Versioned<T> {
    /// A record that was never stored.
    pub const fn new(value: T) -> Self {
        Self { value, revision: Revision(0) }
    }
}
