//! Load of the purse, card side (PBOC 2.0 part 2, load transaction).

use super::{PurseState, Refusal};
use crate::{
    Amount, CardRandom, Key, KeyVersion, Mac, OnlineCounter, SessionKey, Tac, TerminalNumber,
    TransactionType,
    commands::{CreditForLoad, InitializeForLoad, InitializeForLoadResponse, TransactionProof},
    crypto,
    file::LogRecord,
};

/// A load that INITIALIZE FOR LOAD began. Volatile: a reset or another transaction ends it.
#[derive(Debug, Clone)]
pub struct PendingLoad {
    session: SessionKey,
    balance: Amount,
    counter: OnlineCounter,
    amount: Amount,
    terminal: TerminalNumber,
}

/// What the applet commits when the load is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The purse from now on.
    pub state: PurseState,
    /// The newest record of EF18.
    pub log: LogRecord,
    /// What GET TRANSACTION PROOF gives for the log record's number.
    pub proof: TransactionProof,
}

impl PendingLoad {
    /// Answers INITIALIZE FOR LOAD, unless the load could never be accepted.
    pub fn begin(
        load_key: &Key,
        key_version: KeyVersion,
        state: &PurseState,
        random: CardRandom,
        command: &InitializeForLoad,
    ) -> Result<(Self, InitializeForLoadResponse), Refusal> {
        state.credited(command.amount)?;
        let (balance, counter) = (state.usable(), state.online());
        let mut seed = [0x80; 8];
        seed[..4].copy_from_slice(&random.to_bytes());
        seed[4..6].copy_from_slice(&counter.to_bytes());
        seed[7] = 0x00;
        let session = crypto::session_key(load_key, seed);
        let covered = [
            &balance.to_bytes()[..],
            &command.amount.to_bytes(),
            &[TransactionType::Load.into()],
            &command.terminal.to_bytes(),
        ];
        let mac1 = Mac::new(crypto::transaction_mac(&session, &covered.concat()));
        let algorithm = load_key.algorithm().identifier();
        let answer = InitializeForLoadResponse { balance, counter, key_version, algorithm, random, mac1 };
        let InitializeForLoad { amount, terminal, .. } = *command;
        Ok((Self { session, balance, counter, amount, terminal }, answer))
    }

    /// Verifies CREDIT FOR LOAD. `state` must be the one that the load began with.
    pub fn credit(
        self,
        tac_key: &Key,
        state: &PurseState,
        command: &CreditForLoad,
    ) -> Result<Loaded, Refusal> {
        let kind = u8::from(TransactionType::Load);
        let (amount, terminal, at) =
            (self.amount.to_bytes(), self.terminal.to_bytes(), command.at.to_bytes());
        let covered = [&amount[..], &[kind], &terminal, &at].concat();
        if Mac::new(crypto::transaction_mac(&self.session, &covered)) != command.mac2 {
            return Err(Refusal::Mac);
        }
        debug_assert_eq!(state.usable(), self.balance, "a committed transaction voids pending ones");
        let after = state.credited(self.amount)?;
        let (balance, counter) = (after.usable().to_bytes(), self.counter.to_bytes());
        let proven = [&balance[..], &counter, &amount, &[kind], &terminal, &at].concat();
        let tac = Tac::new(crypto::folded_mac(tac_key, &proven));
        Ok(Loaded {
            state: after,
            log: LogRecord {
                sequence: after.online().into(),
                overdraft_limit: after.overdraft_limit(),
                amount: self.amount,
                transaction_type: TransactionType::Load,
                terminal: self.terminal,
                at: command.at,
            },
            proof: TransactionProof { mac2: command.mac2, tac },
        })
    }
}
