//! Locking a black-listed card through the PSAM (APPLICATION BLOCK with the key that the PSAM derives).
//!
//! The intention is durable first. When the answer is lost, the card's next contact with this terminal shows
//! that it is blocked, and the lock is recorded then.

use tsm_epurse::{
    DateTime,
    commands::{ApplicationBlock, BlockKind, GetChallenge},
    psam::{CipherData, DeliveryKey},
};

use crate::{
    card::PurseCard,
    psam::CardKeys,
    reader::{CardReader, ExchangeError, exchange},
    record::{LockRecord, Locking, Refusal},
    store::{Change, TerminalStore},
    terminal::{TapError, Terminal, ask},
};

impl<K: CardKeys, S: TerminalStore> Terminal<K, S> {
    /// Locks the card, and gives what the rider is told.
    pub(crate) fn lock(
        &mut self,
        reader: &mut impl CardReader,
        card: &PurseCard,
        at: DateTime,
    ) -> Result<Refusal, TapError> {
        let list_version = self.list().list.version().0;
        let locking = Locking { card: card.serial(), issuer: card.issuer(), at, list_version };
        self.commit(vec![Change::Locking(locking.clone())])?;
        if self.send_block(reader, card).is_err() {
            return Ok(Refusal::BlackListed);
        }
        let lock = LockRecord { number: self.state.record_number(0), locking };
        self.commit(vec![Change::Locked(lock)])?;
        Ok(Refusal::BlackListedAndLocked)
    }

    /// A card that is blocked already: by this terminal, when its answer to the lock was lost.
    pub(crate) fn meet_blocked(
        &mut self,
        card: Option<&PurseCard>,
        at: DateTime,
    ) -> Result<TapError, TapError> {
        let locking = card.and_then(|card| self.state.locking_of(card.serial()).cloned());
        let mut changes = vec![self.refusal(card, at, Refusal::Blocked)];
        if let Some(locking) = locking {
            changes.push(Change::Locked(LockRecord { number: self.state.record_number(0), locking }));
        }
        self.commit(changes)?;
        Ok(Refusal::Blocked.into())
    }

    /// APPLICATION BLOCK through the PSAM's maintenance key.
    fn send_block(&mut self, reader: &mut impl CardReader, card: &PurseCard) -> Result<(), TapError> {
        let usage = DeliveryKey::APPLICATION_MAINTENANCE;
        let delivery = DeliveryKey { usage, key_index: 2, card: card.factor(), issuer: card.issuer() };
        ask(&mut self.psam, "DELIVERY KEY", &delivery.to_apdu())?;
        let challenge = exchange(reader, "GET CHALLENGE", &GetChallenge::Four.to_apdu())?;
        let challenge = <[u8; 4]>::try_from(challenge)
            .map_err(|_| ExchangeError::Answer { command: "GET CHALLENGE" })?
            .into();
        let mut block = ApplicationBlock { kind: BlockKind::Temporary }.to_apdu();
        let padded_message = vec![block.cla, block.ins, block.p1, block.p2, 4, 0x80, 0, 0];
        let mac = ask(&mut self.psam, "CIPHER DATA", &CipherData { challenge, padded_message }.to_apdu())?;
        block.data = mac;
        exchange(reader, "APPLICATION BLOCK", &block)?;
        Ok(())
    }
}
