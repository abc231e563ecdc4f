//! The service logic module: one file per operation that the rider can start (W-5.b).

mod arriving;
mod card_view;
mod catalogue;
mod conversation;
mod deletion;
mod interrupted;
mod locking;
mod login;
mod losing;
mod opening;
mod ordered_migrations;
mod paying_online;
mod receipts;
mod registration;
mod returning;
mod synchronisation;
mod top_up;

use std::sync::Arc;

use tsm_api::conversation::{CardRefusal, IfBusy, RestartReason};
use tsm_api::ids::RequestId;
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::migrations::DueMigration;
use tsm_api::{HexBytes, Problem};
use tsm_domain::environment::{Clock, Entropy};

use crate::network::{Network, NetworkError};
use crate::se_operation::{AccessError, SeOperation, SecureElementAccess};
use crate::storage::{StorageError, WalletRecord, WalletStorage};

pub use card_view::{Blocked, CardView, TripRecord};
pub use interrupted::{Cancellation, Continued, Interrupted, InterruptedKind};
pub use login::{Entrance, Rights};
pub use ordered_migrations::MigrationStep;
pub use paying_online::OnlinePayment;
pub use returning::Returned;
pub use top_up::{PaidTopUp, TopUpResult};

/// One wallet runs one operation at a time (it is the only way to the secure element), so what a server
/// still holds of it is a conversation that died with an earlier run: the new one takes its place.
const ONLY_THIS_WALLET: IfBusy = IfBusy::Replace;

/// The wallet's core: what it knows, and what it may use.
pub struct Wallet<A, S> {
    element: SeOperation<A>,
    network: Network,
    storage: S,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    record: WalletRecord,
    session: Option<Session>,
}

/// A session that the platform opened after login; in memory only.
struct Session {
    bearer: String,
    assertion: Option<String>,
    rights: Rights,
    /// Applications that the platform wants deleted: their subscription has ended, or their card is closed.
    to_delete: Vec<HexBytes>,
    /// What this phone has to do for migrations that were ordered elsewhere.
    migrations: Vec<DueMigration>,
}

/// Why an operation did not end well. Every variant's sentence says what to do next.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WalletError {
    /// The secure element could not be reached.
    #[error(transparent)]
    Element(#[from] AccessError),
    /// A server could not be reached or refused.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The phone's storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The platform refused before anything changed.
    #[error("{} {}", .0.message_en, .0.next_step)]
    Refused(Box<Problem>),
    /// The work failed; the next attempt goes on from what the card holds.
    #[error("{} {}", .problem.message_en, .problem.next_step)]
    Failed {
        /// Why.
        problem: Box<Problem>,
        /// The command that the card refused, if one did.
        card: Option<Box<CardRefusal>>,
    },
    /// Whether the work was done is not known; the next contact with the card settles it.
    #[error(
        "it is not known yet whether this was done; open the wallet again and it will be settled from the card"
    )]
    Unknown,
    /// The rider or the operator stopped the work.
    #[error("the work was stopped; it can be taken up again")]
    Cancelled,
    /// The server lost the conversation as often as the wallet began it.
    #[error("the server could not keep the conversation ({0:?}); try again later")]
    Restarted(RestartReason),
    /// Registration has not succeeded yet.
    #[error("this phone is not registered; register first")]
    NotRegistered,
    /// There is no session with the needed rights.
    #[error("this needs a successful login; log in first")]
    NoSession,
    /// The card answered something that the wallet does not understand.
    #[error("the card's answer to {0} cannot be read; try again")]
    UnreadableCard(&'static str),
    /// The server's outcome does not fit the operation.
    #[error("the server's outcome does not fit the operation; update the wallet")]
    UnexpectedOutcome,
    /// A receipt is not the centre's.
    #[error("{0}; do not rely on it, and tell the card's issuer")]
    Receipt(tsm_api::receipt::ReceiptError),
    /// The application is not in the list that would allow the operation.
    #[error("the application {0} is not offered for this here")]
    NotOffered(HexBytes),
}

impl WalletError {
    /// Whether a server says that it does not know what was named.
    fn is_unknown_id(&self) -> bool {
        let problem = match self {
            Self::Refused(problem)
            | Self::Failed { problem, .. }
            | Self::Network(NetworkError::Refused(problem)) => problem,
            _ => return false,
        };
        problem.code == ProblemCode::UnknownId
    }
}

impl<A: SecureElementAccess, S: WalletStorage> Wallet<A, S> {
    /// Starts the wallet: reads what it kept. Nothing is sent.
    pub async fn start(
        access: A,
        network: Network,
        storage: S,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, WalletError> {
        let record = storage.load().await?;
        let element = SeOperation::new(access);
        Ok(Self { element, network, storage, clock, entropy, record, session: None })
    }

    /// What the wallet keeps.
    pub const fn record(&self) -> &WalletRecord {
        &self.record
    }

    async fn keep(&self) -> Result<(), WalletError> {
        Ok(self.storage.save(&self.record).await?)
    }

    fn bearer(&self) -> Result<&str, WalletError> {
        self.session.as_ref().map(|session| session.bearer.as_str()).ok_or(WalletError::NoSession)
    }

    /// What the SP-TSM accepts: the SE-TSM's signed word about this session.
    fn assertion(&self) -> Result<&str, WalletError> {
        self.session.as_ref().and_then(|session| session.assertion.as_deref()).ok_or(WalletError::NoSession)
    }

    /// A request number that the server sees once, however often the request is sent.
    fn request_id(&self) -> RequestId {
        let mut bytes = [0; 16];
        self.entropy.fill(&mut bytes);
        RequestId(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }
}
