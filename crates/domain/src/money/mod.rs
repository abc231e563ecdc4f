//! Where money is and how it moves: orders, top-ups, card accounts, the ledger and its equation.

pub mod audit;
pub mod black_list;
pub mod card_account;
pub mod closing;
pub mod equation;
pub mod examination;
pub mod fare;
pub mod journal;
pub mod ledger;
pub mod numbering;
pub mod online_purchase;
pub mod payment_order;
pub mod receipt;
pub mod reconciliation;
pub mod settlement;
pub mod statement;
pub mod top_up;
pub mod transaction;

pub use black_list::{
    CardList, ListAction, ListChange, ListError, ListKind, ListReason, ListVersion, ListedCard,
};
pub use card_account::{
    CardAccount, CardAccountEvent, CardAccountRefusal, CardAccountState, ClosingPurpose, Freeze,
};
pub use closing::{
    Claim, Closing, ClosingMove, ClosingRefusal, ClosingStage, Parking, ParkingProof, RefundPart,
};
pub use equation::{Imbalance, MoneyTotals};
pub use examination::{Doubt, Examined, Finding, examine};
pub use journal::{CardReplay, Change, JournalEvent};
pub use ledger::{
    Account, AccountKind, Balance, Ledger, LedgerView, Transfer, TransferCode, TransferKind, TransferRefusal,
};
pub use numbering::{Arrival, MissingNumbers, Numbering};
pub use online_purchase::{
    CentreWord, Debit, PayerToken, PurchaseBegun, PurseAttempt, PurseCard, PurseOffer, PurseStage,
};
pub use payment_order::{PaymentEvent, PaymentOrder, PaymentRefusal, PaymentState};
pub use statement::{Statement, StatementKind, StatementLine, StatementTotals};
pub use top_up::{
    Attempt, Evidence, LoadProof, ProvenObservation, Resolution, Suspicion, Tac, TopUp, TopUpRefusal,
    TopUpStage, resolve, resolve_released,
};
pub use transaction::{CardTransaction, TransactionKey, TransactionType};
