//! Change of the overdraft limit, card side (PBOC 2.0 part 2, overdraft limit update).

use super::{PurseState, Refusal};
use crate::{
    Amount, CardRandom, Key, KeyVersion, Mac, OnlineCounter, SessionKey, Tac, TerminalNumber,
    TransactionType,
    commands::{
        InitializeForOverdraft, InitializeForOverdraftResponse, TransactionProof, UpdateOverdraftLimit,
    },
    crypto,
    file::LogRecord,
};

/// A change that INITIALIZE FOR UPDATE began. Volatile: a reset or another transaction ends it.
#[derive(Debug, Clone)]
pub struct PendingOverdraft {
    session: SessionKey,
    balance: Amount,
    counter: OnlineCounter,
    terminal: TerminalNumber,
}

/// What the applet commits when the change is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limited {
    /// The purse from now on.
    pub state: PurseState,
    /// The newest record of EF18: amount zero, the new limit in its place.
    pub log: LogRecord,
    /// What GET TRANSACTION PROOF gives for the log record's number.
    pub proof: TransactionProof,
}

impl PendingOverdraft {
    /// Answers INITIALIZE FOR UPDATE.
    pub fn begin(
        overdraft_key: &Key,
        key_version: KeyVersion,
        state: &PurseState,
        random: CardRandom,
        command: &InitializeForOverdraft,
    ) -> Result<(Self, InitializeForOverdraftResponse), Refusal> {
        let (balance, counter, old_limit) = (state.usable(), state.online(), state.overdraft_limit());
        counter.next().ok_or(Refusal::CounterAtLimit)?;
        let mut seed = [0x80; 8];
        seed[..4].copy_from_slice(&random.to_bytes());
        seed[4..6].copy_from_slice(&counter.to_bytes());
        seed[7] = 0x00;
        let session = crypto::session_key(overdraft_key, seed);
        let covered = [
            &balance.to_bytes()[..],
            &old_limit.to_bytes(),
            &[TransactionType::OverdraftUpdate.into()],
            &command.terminal.to_bytes(),
        ];
        let mac1 = Mac::new(crypto::transaction_mac(&session, &covered.concat()));
        let algorithm = overdraft_key.algorithm().identifier();
        let answer = InitializeForOverdraftResponse {
            balance,
            counter,
            old_limit,
            key_version,
            algorithm,
            random,
            mac1,
        };
        Ok((Self { session, balance, counter, terminal: command.terminal }, answer))
    }

    /// Verifies UPDATE OVERDRAW LIMIT. `state` must be the one that the change began with.
    pub fn update(
        self,
        tac_key: &Key,
        state: &PurseState,
        command: &UpdateOverdraftLimit,
    ) -> Result<Limited, Refusal> {
        let transaction_type = TransactionType::OverdraftUpdate;
        let (limit, kind) = (command.new_limit.to_bytes(), u8::from(transaction_type));
        let (terminal, at) = (self.terminal.to_bytes(), command.at.to_bytes());
        let covered = [&limit[..], &[kind], &terminal, &at].concat();
        if Mac::new(crypto::transaction_mac(&self.session, &covered)) != command.mac2 {
            return Err(Refusal::Mac);
        }
        let after = state.limited(command.new_limit)?;
        let (balance, counter) = (self.balance.to_bytes(), self.counter.to_bytes());
        let proven = [&balance[..], &counter, &limit, &[kind], &terminal, &at].concat();
        Ok(Limited {
            state: after,
            log: LogRecord {
                sequence: after.online().into(),
                overdraft_limit: after.overdraft_limit(),
                amount: Amount::ZERO,
                transaction_type,
                terminal: self.terminal,
                at: command.at,
            },
            proof: TransactionProof {
                mac2: command.mac2,
                tac: Tac::new(crypto::folded_mac(tac_key, &proven)),
            },
        })
    }
}
