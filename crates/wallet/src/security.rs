//! The security module: encryption and digests for the other modules, and passwords that leave no
//! trace (W-5.e, W-9.2).

use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

/// Two-key triple DES in CBC mode with a zero initial value, as QB-E-019 5 asks for.
///
/// Kept for conformance; nothing that OpenTSM trusts rests on it (decision D-22).
pub struct TripleDes {
    key: Zeroizing<[u8; 16]>,
}

/// The text is not a whole number of 8-byte blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("3DES works on whole blocks of 8 bytes, and {0} bytes are not")]
pub struct NotWholeBlocks(pub usize);

impl TripleDes {
    /// Works with a 16-byte key.
    pub fn new(key: &[u8; 16]) -> Self {
        Self { key: Zeroizing::new(*key) }
    }

    /// Encrypts whole blocks.
    pub fn encrypt(&self, text: &[u8]) -> Result<Vec<u8>, NotWholeBlocks> {
        whole_blocks(text)?;
        let cipher = cbc::Encryptor::<des::TdesEde2>::new((&*self.key).into(), &[0; 8].into());
        let mut out = text.to_vec();
        cipher.encrypt_padded::<NoPadding>(&mut out, text.len()).map_err(|_| NotWholeBlocks(text.len()))?;
        Ok(out)
    }

    /// Decrypts whole blocks.
    pub fn decrypt(&self, text: &[u8]) -> Result<Vec<u8>, NotWholeBlocks> {
        whole_blocks(text)?;
        let cipher = cbc::Decryptor::<des::TdesEde2>::new((&*self.key).into(), &[0; 8].into());
        let mut out = text.to_vec();
        cipher.decrypt_padded::<NoPadding>(&mut out).map_err(|_| NotWholeBlocks(text.len()))?;
        Ok(out)
    }
}

fn whole_blocks(text: &[u8]) -> Result<(), NotWholeBlocks> {
    if text.len().is_multiple_of(8) { Ok(()) } else { Err(NotWholeBlocks(text.len())) }
}

/// SHA-1, for fields whose format asks for it.
pub fn sha1(text: &[u8]) -> [u8; 20] {
    Sha1::digest(text).into()
}

/// A password as the rider typed it: wiped when dropped, never shown, never stored (W-9.2.a).
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes the text over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The characters, for the one command that verifies them on the secure element.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-1 of FIPS 180-4's first example, and two-key 3DES against NIST SP 800-20's variable
    /// plaintext table (all key bytes 01 makes DES of the known answer).
    ///
    /// req: W-5.e
    #[test]
    fn known_answers() {
        assert_eq!(hex::encode(sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let cipher = TripleDes::new(&[0x01; 16]);
        let text = hex::decode("8000000000000000").unwrap();
        let secret = cipher.encrypt(&text).unwrap();
        assert_eq!(hex::encode(&secret), "95f8a5e5dd31d900");
        assert_eq!(cipher.decrypt(&secret).unwrap(), text);
        assert_eq!(cipher.encrypt(&[0; 7]), Err(NotWholeBlocks(7)));
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(format!("{:?}", Password::new("246810".into())), "Password(hidden)");
    }
}
