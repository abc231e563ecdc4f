//! Secure messaging, host side (PBOC 2.0 part 2, secure messaging): a MAC over the whole command,
//! begun from the card's challenge; sensitive data enciphered as well.

use tsm_iso7816::CommandApdu;

use crate::{Challenge, Key, Mac, crypto};

/// Longest command data that leaves room for the MAC.
pub const MAX_DATA: usize = 251;

/// A command too long to carry a MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a command with a MAC carries at most 251 data bytes, not {0}")]
pub struct TooLong(pub usize);

/// What the MAC covers: CLA INS P1 P2, Lc with the MAC counted, data.
pub fn mac_input(command: &CommandApdu) -> Result<Vec<u8>, TooLong> {
    if command.data.len() > MAX_DATA {
        return Err(TooLong(command.data.len()));
    }
    let lc = (command.data.len() + Mac::LENGTH) as u8;
    let mut input = vec![command.cla, command.ins, command.p1, command.p2, lc];
    input.extend(&command.data);
    Ok(input)
}

/// The command with its MAC appended. Its class must already say that it has one (04 or 84).
pub fn protect(key: &Key, challenge: Challenge, command: &CommandApdu) -> Result<CommandApdu, TooLong> {
    let mac = crypto::secure_messaging_mac(key, challenge, &mac_input(command)?);
    let mut protected = command.clone();
    protected.data.extend(mac);
    Ok(protected)
}

/// The MAC over a message that a terminal has padded already, as a PSAM's CIPHER DATA makes it; `None` when its
/// last block does not end in 80 and zeros.
pub fn mac_of_padded(key: &Key, challenge: Challenge, padded: &[u8]) -> Option<Mac> {
    let end = padded.iter().rposition(|byte| *byte != 0)?;
    if padded[end] != 0x80 || padded.len() - end > key.algorithm().block_length() {
        return None;
    }
    Some(Mac::new(crypto::secure_messaging_mac(key, challenge, &padded[..end])))
}

/// Sensitive command data under `key`: length byte, data, and 80 00.. when the last block is not full.
pub fn encipher(key: &Key, data: &[u8]) -> Result<Vec<u8>, TooLong> {
    let length = u8::try_from(data.len()).ok().filter(|length| usize::from(*length) <= MAX_DATA);
    let mut block = vec![length.ok_or(TooLong(data.len()))?];
    block.extend(data);
    let block_length = key.algorithm().block_length();
    if !block.len().is_multiple_of(block_length) {
        block = crypto::pad(block, block_length);
    }
    crypto::encipher(key, &mut block);
    Ok(block)
}
