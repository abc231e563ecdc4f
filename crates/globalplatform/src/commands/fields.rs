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
    /// Lengths beyond 127 are written 81 xx or 82 xx xx (GPC 2.3.1 11.5.2.3). A lone 80 is read as
    /// 128, since hosts that know only 1024-bit signatures write it so.
    pub(crate) fn value(&mut self, field: &'static str) -> Result<&'a [u8], CommandError> {
        let length = match self.byte(field)? {
            length @ 0..=0x80 => usize::from(length),
            0x81 => usize::from(self.byte(field)?),
            0x82 => usize::from(self.byte(field)?) << 8 | usize::from(self.byte(field)?),
            _ => return Err(CommandError::Value { field }),
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
