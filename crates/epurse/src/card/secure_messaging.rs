//! Secure messaging, card side (PBOC 2.0 part 2, secure messaging).

use tsm_iso7816::StatusWord;
use zeroize::Zeroizing;

use crate::{Challenge, Key, Mac, commands::Secured, crypto};

/// Why secured data is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecureMessagingRefusal {
    /// The MAC is wrong.
    #[error("the MAC of secure messaging is wrong")]
    Mac,
    /// What was deciphered has no sense.
    #[error("the enciphered data does not decipher to a length and its data")]
    Data,
}

impl SecureMessagingRefusal {
    /// What the card answers.
    pub const fn status_word(self) -> StatusWord {
        StatusWord::SECURE_MESSAGING_DATA_INCORRECT
    }
}

/// The command, when its MAC under `key` and this card's `challenge` is right. The challenge must
/// not be used again.
///
/// The class byte is taken as it is on the basic channel: which channel carries the command is no
/// business of whoever made the MAC.
pub fn verify<C>(key: &Key, challenge: Challenge, secured: Secured<C>) -> Result<C, SecureMessagingRefusal> {
    // Parsing admits at most 255 data bytes, the MAC included.
    let lc = (secured.data.len() + Mac::LENGTH) as u8;
    let covered = [&secured.header[..], &[lc], &secured.data].concat();
    if Mac::new(crypto::secure_messaging_mac(key, challenge, &covered)) != secured.mac {
        return Err(SecureMessagingRefusal::Mac);
    }
    Ok(secured.into_command())
}

/// Deciphers sensitive command data: a length byte, the data, and filling.
pub fn decipher(key: &Key, enciphered: &[u8]) -> Result<Zeroizing<Vec<u8>>, SecureMessagingRefusal> {
    if enciphered.is_empty() || !enciphered.len().is_multiple_of(key.algorithm().block_length()) {
        return Err(SecureMessagingRefusal::Data);
    }
    let mut block = Zeroizing::new(enciphered.to_vec());
    crypto::decipher(key, &mut block);
    let (length, rest) = block.split_first().ok_or(SecureMessagingRefusal::Data)?;
    let (data, filling) = rest.split_at_checked(usize::from(*length)).ok_or(SecureMessagingRefusal::Data)?;
    let filled = filling.is_empty() || (filling[0] == 0x80 && filling[1..].iter().all(|byte| *byte == 0));
    if !filled || filling.len() >= key.algorithm().block_length() {
        return Err(SecureMessagingRefusal::Data);
    }
    Ok(Zeroizing::new(data.to_vec()))
}
