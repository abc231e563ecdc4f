//! A card in a PC/SC reader (feature `pcsc`, which links the system's PC/SC library).

use std::ffi::CString;

use pcsc::{Card, Context, Disposition, Protocols, Scope, ShareMode};

use crate::direct::{CardGone, Transmit};

/// The longest response of an extended command.
const RESPONSE_BYTES: usize = 65_538;

/// Why no card could be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReaderError {
    /// The PC/SC service, the reader or the card.
    #[error("PC/SC reports: {0}")]
    PcSc(pcsc::Error),
    /// The reader's name has a zero byte.
    #[error("no reader has a name with a zero byte")]
    Name,
}

impl From<pcsc::Error> for ReaderError {
    fn from(error: pcsc::Error) -> Self {
        Self::PcSc(error)
    }
}

/// The readers that the PC/SC service knows.
pub fn readers() -> Result<Vec<String>, ReaderError> {
    let context = Context::establish(Scope::User)?;
    let names = context.list_readers_owned()?;
    Ok(names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect())
}

/// A card in a reader, reset when it is let go.
pub struct ReaderCard {
    card: Option<Card>,
    buffer: Vec<u8>,
}

impl ReaderCard {
    /// Connects to the card in a reader, for this program alone.
    pub fn connect(reader: &str) -> Result<Self, ReaderError> {
        let name = CString::new(reader).map_err(|_| ReaderError::Name)?;
        let context = Context::establish(Scope::User)?;
        let card = context.connect(&name, ShareMode::Exclusive, Protocols::ANY)?;
        Ok(Self { card: Some(card), buffer: vec![0; RESPONSE_BYTES] })
    }
}

impl Transmit for ReaderCard {
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, CardGone> {
        let card = self.card.as_ref().ok_or(CardGone)?;
        card.transmit(command, &mut self.buffer).map(<[u8]>::to_vec).map_err(|_| CardGone)
    }
}

impl Drop for ReaderCard {
    fn drop(&mut self) {
        if let Some(card) = self.card.take() {
            // A reset ends every secure channel; a reader that refuses it has lost the card anyway.
            drop(card.disconnect(Disposition::ResetCard));
        }
    }
}
