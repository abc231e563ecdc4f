//! Unload, card side (PBOC 2.0 part 2, unload transaction).

use super::{PurseState, Refusal};
use crate::{
    Amount, CardRandom, Key, KeyVersion, Mac, OnlineCounter, SessionKey, Tac, TerminalNumber,
    TransactionType,
    commands::{
        DebitForUnload, DebitForUnloadResponse, InitializeForUnload, InitializeForUnloadResponse,
        TransactionProof,
    },
    crypto,
    file::LogRecord,
};

/// An unload that INITIALIZE FOR UNLOAD began. Volatile: a reset or another transaction ends it.
#[derive(Debug, Clone)]
pub struct PendingUnload {
    unload_key: Key,
    session: SessionKey,
    counter: OnlineCounter,
    amount: Amount,
    terminal: TerminalNumber,
}

/// What the applet commits when the unload is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unloaded {
    /// The purse from now on.
    pub state: PurseState,
    /// The newest record of EF18.
    pub log: LogRecord,
    /// What GET TRANSACTION PROOF gives: MAC3, and zeros for the TAC that an unload does not have.
    pub proof: TransactionProof,
}

impl Unloaded {
    /// The answer to DEBIT FOR UNLOAD.
    pub const fn response(&self) -> DebitForUnloadResponse {
        DebitForUnloadResponse { mac3: self.proof.mac2 }
    }
}

impl PendingUnload {
    /// Answers INITIALIZE FOR UNLOAD, unless the purse does not hold the amount.
    pub fn begin(
        unload_key: &Key,
        key_version: KeyVersion,
        state: &PurseState,
        random: CardRandom,
        command: &InitializeForUnload,
    ) -> Result<(Self, InitializeForUnloadResponse), Refusal> {
        state.unloaded(command.amount)?;
        let (balance, counter) = (state.usable(), state.online());
        let mut seed = [0x80; 8];
        seed[..4].copy_from_slice(&random.to_bytes());
        seed[4..6].copy_from_slice(&counter.to_bytes());
        seed[7] = 0x00;
        let session = crypto::session_key(unload_key, seed);
        let covered = [
            &balance.to_bytes()[..],
            &command.amount.to_bytes(),
            &[TransactionType::Unload.into()],
            &command.terminal.to_bytes(),
        ];
        let mac1 = Mac::new(crypto::transaction_mac(&session, &covered.concat()));
        let algorithm = unload_key.algorithm().identifier();
        let answer = InitializeForUnloadResponse { balance, counter, key_version, algorithm, random, mac1 };
        let InitializeForUnload { amount, terminal, .. } = *command;
        Ok((Self { unload_key: unload_key.clone(), session, counter, amount, terminal }, answer))
    }

    /// Verifies DEBIT FOR UNLOAD. `state` must be the one that the unload began with.
    pub fn debit(self, state: &PurseState, command: &DebitForUnload) -> Result<Unloaded, Refusal> {
        let kind = u8::from(TransactionType::Unload);
        let (amount, terminal, at) =
            (self.amount.to_bytes(), self.terminal.to_bytes(), command.at.to_bytes());
        let covered = [&amount[..], &[kind], &terminal, &at].concat();
        if Mac::new(crypto::transaction_mac(&self.session, &covered)) != command.mac2 {
            return Err(Refusal::Mac);
        }
        let after = state.unloaded(self.amount)?;
        let (balance, counter) = (after.usable().to_bytes(), self.counter.to_bytes());
        let proven = [&balance[..], &counter, &amount, &[kind], &terminal, &at].concat();
        let mac3 = Mac::new(crypto::folded_mac(&self.unload_key, &proven));
        Ok(Unloaded {
            state: after,
            log: LogRecord {
                sequence: after.online().into(),
                overdraft_limit: after.overdraft_limit(),
                amount: self.amount,
                transaction_type: TransactionType::Unload,
                terminal: self.terminal,
                at: command.at,
            },
            proof: TransactionProof { mac2: mac3, tac: Tac::default() },
        })
    }
}
