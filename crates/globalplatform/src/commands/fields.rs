//! Length-value fields, of which most GlobalPlatform commands are made.

use tsm_iso7816::{Aid, tlv};

use super::CommandError;

/// Reads length-value fields one after another.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// One byte.
    pub(crate) fn byte(&mut self, field: &'static str) -> Result<u8, CommandError> {
        let (first, rest) = self.rest.split_first().ok_or(CommandError::Truncated { field })?;
        self.rest = rest;
        Ok(*first)
    }

    /// The next byte, without taking it.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(crate) fn bytes(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], CommandError> {
        let (value, rest) = self.rest.split_at_checked(length).ok_or(CommandError::Truncated { field })?;
        self.rest = rest;
        Ok(value)
    }

    /// One length-value field.
    ///
    /// Lengths beyond 127 are written 81 xx or 82 xx xx (GPC 2.3.1 11.5.2.3). Hosts of older editions
    /// write every length as one byte: 80, and from 83 on, can only be meant so.
    pub(crate) fn value(&mut self, field: &'static str) -> Result<&'a [u8], CommandError> {
        let length = match self.byte(field)? {
            0x81 => usize::from(self.byte(field)?),
            0x82 => usize::from(self.byte(field)?) << 8 | usize::from(self.byte(field)?),
            length => usize::from(length),
        };
        self.bytes(field, length)
    }

    /// One length-value field, empty where the command ends before it: hosts leave out last fields.
    pub(crate) fn value_or_empty(&mut self, field: &'static str) -> Result<&'a [u8], CommandError> {
        if self.is_empty() { Ok(&[]) } else { self.value(field) }
    }

    /// An AID.
    pub(crate) fn aid(&mut self, field: &'static str) -> Result<Aid, CommandError> {
        to_aid(field, self.value(field)?)
    }

    /// An AID, or none where the field is empty or the command ends before it.
    pub(crate) fn optional_aid(&mut self, field: &'static str) -> Result<Option<Aid>, CommandError> {
        match self.value_or_empty(field)? {
            [] => Ok(None),
            bytes => to_aid(field, bytes).map(Some),
        }
    }

    /// A field that must be empty or absent.
    pub(crate) fn empty(&mut self, field: &'static str) -> Result<(), CommandError> {
        if self.value_or_empty(field)?.is_empty() { Ok(()) } else { Err(CommandError::Value { field }) }
    }

    /// Refuses bytes behind the last field.
    pub(crate) fn end(self) -> Result<(), CommandError> {
        if self.is_empty() { Ok(()) } else { Err(CommandError::Trailing(self.rest.len())) }
    }
}

pub(crate) fn to_aid(field: &'static str, bytes: &[u8]) -> Result<Aid, CommandError> {
    Aid::new(bytes).map_err(|source| CommandError::Aid { field, source })
}

/// Appends one length-value field.
pub(crate) fn write_value(out: &mut Vec<u8>, value: &[u8]) {
    tlv::write_length(out, value.len());
    out.extend(value);
}

/// Appends an AID field, empty for none.
pub(crate) fn write_aid(out: &mut Vec<u8>, aid: Option<&Aid>) {
    write_value(out, aid.map_or(&[], Aid::as_bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ways to write a length beyond 127, each byte of the older one that is not BER.
    #[test]
    fn lengths_of_either_edition() {
        for length in [0x00, 0x7F, 0x80, 0x83, 0xC8, 0xFF] {
            let mut written = vec![length];
            written.resize(1 + usize::from(length), 0x5A);
            let mut fields = Fields::new(&written);
            assert_eq!(fields.value("value").map(<[u8]>::len), Ok(usize::from(length)));
            assert_eq!(fields.end(), Ok(()));
        }
        for length in [0x80, 0x81, 0xFF, 0x100, 0x1FF] {
            let mut written = Vec::new();
            write_value(&mut written, &vec![0x5A; length]);
            assert_eq!(Fields::new(&written).value("value").map(<[u8]>::len), Ok(length));
        }
        assert!(Fields::new(&[0x83, 0, 0]).value("value").is_err());
    }
}
