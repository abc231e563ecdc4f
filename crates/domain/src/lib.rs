//! The rules of OpenTSM: identities, life cycles, decisions, ledger.
//!
//! Everything here is a value or a function of values. The crate reads no clock, no randomness, no file,
//! no socket, no environment and no global; who needs them is given them through [`environment`].
//! States are enums that carry their data, and a transition consumes the state it leaves.

pub mod amount;
pub mod application;
pub mod arrival;
pub mod billing;
pub mod bytes;
pub mod card;
pub mod desk;
pub mod environment;
pub mod id;
pub mod message;
pub mod migration;
pub mod money;
pub mod policy;
pub mod provider;
pub mod se;
pub mod se_application;
pub mod security_domain;
pub mod staff;
pub mod subscription;
pub mod task;
pub mod user;

pub use amount::{Fen, OfflineCounter, OnlineCounter};
pub use id::{
    AsideId, BatchId, CardNumber, ConversationId, DeliveryId, DifferenceId, IdError, IncidentId,
    InstitutionId, KeyReference, Msisdn, OperationId, OperatorId, OrderId, PayerId, PaymentReference,
    ProposalId, ProviderId, SeId, SessionId, SubscriptionId, TaskId, TerminalNumber, TicketId, TransferId,
};
