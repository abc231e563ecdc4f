//! A PSAM in software: the security module that makes a terminal's MACs.
//!
//! It is a card of its own with an APDU interface ([`tsm_epurse::psam`] has the commands and says where they
//! come from). It keeps the terminal's transaction number and refuses to go on after too many wrong MAC2s in
//! a row. Its keys come from a [`CardKeys`]; what must survive power loss is [`PsamState`].

mod keys;

pub use keys::{CardKeys, KeyAddress, RootKeys};

use serde::{Deserialize, Serialize};
use tsm_epurse::{
    Algorithm, Key, Sfi, TerminalNumber, TerminalSequence,
    commands::ReadBinary,
    host::{purchase::PurchaseFacts, purchase::PurchaseSession, secure_messaging},
    psam::{
        CipherData, CreditSamForPurchase, DeliveryKey, InitSamForPurchase, InitSamForPurchaseResponse,
        PSAM_AID,
    },
};
use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord};

/// What a PSAM is personalised with, beside its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PsamProfile {
    /// EF16: the terminal's number.
    pub terminal: TerminalNumber,
    /// EF15: the PSAM's own serial number.
    pub serial: [u8; 10],
    /// EF17: index of the purchase key.
    pub purchase_key_index: u8,
    /// How many wrong MAC2s in a row it takes before it refuses purchases.
    pub wrong_mac2_limit: u16,
}

/// What a PSAM must not forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PsamState {
    /// The number of the last transaction.
    pub last_sequence: u32,
    /// Wrong MAC2s since the last right one.
    pub wrong_mac2: u16,
}

/// A software PSAM.
#[derive(Debug)]
pub struct Psam<K> {
    profile: PsamProfile,
    keys: K,
    state: PsamState,
    directory: Directory,
    purchase: Option<PurchaseSession>,
    working_key: Option<Key>,
}

/// What is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directory {
    Root,
    Transport,
}

/// P1 and P2 of the key that locks black-listed cards.
const BLOCK_KEY: (u8, u8) = (DeliveryKey::APPLICATION_MAINTENANCE, 0x02);

type Answer = Result<ResponseApdu, StatusWord>;

impl<K: CardKeys> Psam<K> {
    /// A PSAM that goes on where `state` left off.
    pub fn new(profile: PsamProfile, keys: K, state: PsamState) -> Self {
        Self { profile, keys, state, directory: Directory::Root, purchase: None, working_key: None }
    }

    /// What must be kept before an answer of the PSAM is used.
    pub const fn state(&self) -> PsamState {
        self.state
    }

    /// Serves one command.
    pub fn transmit(&mut self, command: &CommandApdu) -> ResponseApdu {
        self.serve(command).unwrap_or_else(ResponseApdu::from)
    }

    fn serve(&mut self, command: &CommandApdu) -> Answer {
        match (command.cla, command.ins, self.directory) {
            (0x00, 0xA4, _) => self.select(command),
            (0x00, 0xB0, directory) => self.read(command, directory),
            (0x80, 0x70, Directory::Transport) => self.init_for_purchase(&command.try_into()?),
            (0x80, 0x72, Directory::Transport) => self.credit_for_purchase(&command.try_into()?),
            (0x80, 0x1A, Directory::Transport) => self.deliver_key(&command.try_into()?),
            (0x80, 0xFA, Directory::Transport) => self.cipher(&command.try_into()?),
            (0x80, 0x70 | 0x72 | 0x1A | 0xFA, Directory::Root) => Err(StatusWord::CONDITIONS_NOT_SATISFIED),
            (0x00 | 0x80, ..) => Err(StatusWord::INSTRUCTION_NOT_SUPPORTED),
            _ => Err(StatusWord::CLASS_NOT_SUPPORTED),
        }
    }

    fn select(&mut self, command: &CommandApdu) -> Answer {
        let by_identifier = (command.p1, command.data.as_slice()) == (0x00, &[0x80, 0x11]);
        let by_name = (command.p1, command.data.as_slice()) == (0x04, PSAM_AID.as_bytes());
        if !by_identifier && !by_name {
            return Err(StatusWord::NOT_FOUND);
        }
        self.directory = Directory::Transport;
        Ok(ResponseApdu::success([]))
    }

    fn read(&self, command: &CommandApdu, directory: Directory) -> Answer {
        let command = ReadBinary::try_from(command)?;
        let content = match (command.sfi, directory) {
            (Sfi::PUBLIC_INFORMATION, _) => self.profile.serial.to_vec(),
            (Sfi::HOLDER, _) => self.profile.terminal.to_bytes().to_vec(),
            (Sfi::MANAGEMENT, Directory::Transport) => vec![self.profile.purchase_key_index],
            _ => return Err(StatusWord::NOT_FOUND),
        };
        let rest = content.get(usize::from(command.offset)..).ok_or(StatusWord::WRONG_P1_P2)?;
        match command.length {
            Some(length) if usize::from(length) > rest.len() => Err(StatusWord::wrong_le(rest.len() as u8)),
            Some(length) => Ok(ResponseApdu::success(&rest[..usize::from(length)])),
            None => Ok(ResponseApdu::success(rest)),
        }
    }

    fn init_for_purchase(&mut self, command: &InitSamForPurchase) -> Answer {
        if self.state.wrong_mac2 >= self.profile.wrong_mac2_limit {
            return Err(StatusWord::AUTHENTICATION_METHOD_BLOCKED);
        }
        let algorithm =
            Algorithm::try_from(command.algorithm).map_err(|_| StatusWord::ALGORITHM_NOT_SUPPORTED)?;
        let address = KeyAddress {
            algorithm,
            version: command.key_version,
            issuer: command.issuer,
            card: command.card,
        };
        let key = self.keys.purchase_key(&address).ok_or(StatusWord::KEY_INDEX_NOT_SUPPORTED)?;
        let last = TerminalSequence::new(self.state.last_sequence);
        let terminal_sequence = last.next().ok_or(StatusWord::COUNTER_AT_LIMIT)?;
        // The number is used up even when nothing comes of the transaction.
        self.state.last_sequence = terminal_sequence.value();
        let facts = PurchaseFacts {
            amount: command.amount,
            transaction_type: command.transaction_type,
            terminal: self.profile.terminal,
            terminal_sequence,
            at: command.at,
        };
        let session = PurchaseSession::begin(&key, command.random, command.counter, facts);
        let mac1 = session.mac1();
        self.purchase = Some(session);
        Ok(ResponseApdu::success(InitSamForPurchaseResponse { terminal_sequence, mac1 }.encode()))
    }

    fn credit_for_purchase(&mut self, command: &CreditSamForPurchase) -> Answer {
        let session = self.purchase.take().ok_or(StatusWord::CONDITIONS_NOT_SATISFIED)?;
        if !session.verify_mac2(command.mac2) {
            self.state.wrong_mac2 = self.state.wrong_mac2.saturating_add(1);
            return Err(StatusWord::MAC_INCORRECT);
        }
        self.state.wrong_mac2 = 0;
        Ok(ResponseApdu::success([]))
    }

    fn deliver_key(&mut self, command: &DeliveryKey) -> Answer {
        self.working_key = None;
        if (command.usage, command.key_index) != BLOCK_KEY {
            return Err(StatusWord::KEY_INDEX_NOT_SUPPORTED);
        }
        let key =
            self.keys.block_key(command.issuer, command.card).ok_or(StatusWord::KEY_INDEX_NOT_SUPPORTED)?;
        self.working_key = Some(key);
        Ok(ResponseApdu::success([]))
    }

    /// One MAC for each key delivered.
    fn cipher(&mut self, command: &CipherData) -> Answer {
        let key = self.working_key.take().ok_or(StatusWord::CONDITIONS_NOT_SATISFIED)?;
        let mac = secure_messaging::mac_of_padded(&key, command.challenge, &command.padded_message)
            .ok_or(StatusWord::WRONG_DATA)?;
        Ok(ResponseApdu::success(mac.to_bytes()))
    }
}

#[cfg(test)]
mod tests;
