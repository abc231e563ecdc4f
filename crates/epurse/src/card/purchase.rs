//! Purchase, simple and composite, card side (PBOC 2.0 part 2, purchase transaction; JT/T 978,
//! composite). The session key needs the terminal's number, so it is made with the debit.

use super::{PurseState, Refusal};
use crate::{
    Amount, CardRandom, Key, KeyVersion, Mac, OfflineCounter, Tac, TerminalNumber,
    commands::{
        DebitForPurchase, DebitForPurchaseResponse, InitializeForPurchase, InitializeForPurchaseResponse,
        PurchaseKind, TransactionProof,
    },
    crypto,
    file::LogRecord,
};

/// A purchase that INITIALIZE FOR (CAPP) PURCHASE began. Volatile: a reset or another transaction ends it.
#[derive(Debug, Clone)]
pub struct PendingPurchase {
    purchase_key: Key,
    kind: PurchaseKind,
    random: CardRandom,
    counter: OfflineCounter,
    amount: Amount,
    terminal: TerminalNumber,
}

/// What the applet commits when the purchase is accepted, together with the cached records of a composite one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchased {
    /// The purse from now on.
    pub state: PurseState,
    /// The newest record of EF18.
    pub log: LogRecord,
    /// What GET TRANSACTION PROOF gives for the log record's number.
    pub proof: TransactionProof,
}

impl Purchased {
    /// The answer to DEBIT FOR PURCHASE.
    pub const fn response(&self) -> DebitForPurchaseResponse {
        DebitForPurchaseResponse { tac: self.proof.tac, mac2: self.proof.mac2 }
    }
}

impl PendingPurchase {
    /// Answers INITIALIZE FOR (CAPP) PURCHASE, unless the purse does not cover the amount.
    pub fn begin(
        purchase_key: &Key,
        key_version: KeyVersion,
        state: &PurseState,
        random: CardRandom,
        command: &InitializeForPurchase,
    ) -> Result<(Self, InitializeForPurchaseResponse), Refusal> {
        state.debited_offline(command.amount)?;
        let answer = InitializeForPurchaseResponse {
            balance: state.usable(),
            counter: state.offline(),
            overdraft_limit: state.overdraft_limit(),
            key_version,
            algorithm: purchase_key.algorithm().identifier(),
            random,
        };
        let InitializeForPurchase { kind, amount, terminal, .. } = *command;
        let pending = Self {
            purchase_key: purchase_key.clone(),
            kind,
            random,
            counter: state.offline(),
            amount,
            terminal,
        };
        Ok((pending, answer))
    }

    /// Simple or composite.
    pub const fn kind(&self) -> PurchaseKind {
        self.kind
    }

    /// Verifies DEBIT FOR PURCHASE. `state` must be the one that the purchase began with.
    pub fn debit(
        self,
        tac_key: &Key,
        state: &PurseState,
        command: &DebitForPurchase,
    ) -> Result<Purchased, Refusal> {
        let sequence = command.terminal_sequence.to_bytes();
        let mut seed = [0; 8];
        seed[..4].copy_from_slice(&self.random.to_bytes());
        seed[4..6].copy_from_slice(&self.counter.to_bytes());
        seed[6..].copy_from_slice(&sequence[2..]);
        let session = crypto::session_key(&self.purchase_key, seed);

        let transaction_type = self.kind.transaction_type();
        let (amount, kind) = (self.amount.to_bytes(), u8::from(transaction_type));
        let (terminal, at) = (self.terminal.to_bytes(), command.at.to_bytes());
        let covered = [&amount[..], &[kind], &terminal, &at].concat();
        if Mac::new(crypto::transaction_mac(&session, &covered)) != command.mac1 {
            return Err(Refusal::Mac);
        }
        debug_assert_eq!(state.offline(), self.counter, "a committed transaction voids pending ones");
        let after = state.debited_offline(self.amount)?;
        let proven = [&amount[..], &[kind], &terminal, &sequence, &at].concat();
        Ok(Purchased {
            state: after,
            log: LogRecord {
                sequence: after.offline().into(),
                overdraft_limit: after.overdraft_limit(),
                amount: self.amount,
                transaction_type,
                terminal: self.terminal,
                at: command.at,
            },
            proof: TransactionProof {
                mac2: Mac::new(crypto::transaction_mac(&session, &amount)),
                tac: Tac::new(crypto::folded_mac(tac_key, &proven)),
            },
        })
    }
}
