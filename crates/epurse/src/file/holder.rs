//! EF16: the card holder, 55 bytes.

use core::fmt;

use crate::{LayoutError, bytes::Fields};

/// EF16. An anonymous card holds zeros. Never printed: it names a person.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Byte 0: kind of card.
    pub card_type: u8,
    /// Byte 1: whether the holder works for the issuer.
    pub staff: u8,
    /// Bytes 2-21: name, filled with zeros.
    pub name: [u8; 20],
    /// Bytes 22-53: number of the identity document, filled with zeros.
    pub document_number: [u8; 32],
    /// Byte 54: kind of identity document.
    pub document_type: u8,
}

impl Holder {
    /// The file's length.
    pub const LENGTH: usize = 55;
    /// A card without a named holder.
    pub const ANONYMOUS: Self =
        Self { card_type: 0, staff: 0, name: [0; 20], document_number: [0; 32], document_type: 0 };

    /// The file's content.
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut out = [0; Self::LENGTH];
        out[0] = self.card_type;
        out[1] = self.staff;
        out[2..22].copy_from_slice(&self.name);
        out[22..54].copy_from_slice(&self.document_number);
        out[54] = self.document_type;
        out
    }

    /// Reads the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("EF16", bytes, Self::LENGTH)?;
        Ok(Self {
            card_type: fields.byte()?,
            staff: fields.byte()?,
            name: fields.array()?,
            document_number: fields.array()?,
            document_type: fields.byte()?,
        })
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::ANONYMOUS { "Holder(anonymous)" } else { "Holder(redacted)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_not_printed() {
        let named = Holder { name: *b"Somebody            ", ..Holder::ANONYMOUS };
        assert_eq!(format!("{named:?}"), "Holder(redacted)");
    }
}
