//! Fields of fixed width: decimal numbers with leading zeros, text with trailing spaces.

/// Why a file or record is not one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FormatError {
    /// A field has a form that it may not have.
    #[error("the field {0} cannot be read")]
    Field(&'static str),
    /// A value does not fit its field.
    #[error("the value of {0} does not fit its field")]
    TooLong(&'static str),
    /// The text ends within a record.
    #[error("the text ends within a record")]
    Ends,
    /// A line ends early or late.
    #[error("a line does not end where it should")]
    LineEnd,
    /// The records have another length.
    #[error("records of this kind have {expected} characters, not {found}")]
    RecordLength {
        /// What the kind has.
        expected: u16,
        /// What the header says.
        found: u16,
    },
    /// The file is not as long as its header says.
    #[error("the header promises {expected} bytes, and the file has {found}")]
    Size {
        /// By the header.
        expected: u64,
        /// The file.
        found: u64,
    },
}

impl FormatError {
    /// What is wrong, in a word or two that fit a record.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Field(name) | Self::TooLong(name) => name,
            Self::Ends => "ends early",
            Self::LineEnd => "line end",
            Self::RecordLength { .. } => "record length",
            Self::Size { .. } => "size",
        }
    }
}

/// Writes fields.
#[derive(Debug, Default)]
pub(super) struct Writer(String);

impl Writer {
    pub(super) fn number(&mut self, name: &'static str, value: u64, width: usize) -> Result<(), FormatError> {
        let digits = value.to_string();
        if digits.len() > width {
            return Err(FormatError::TooLong(name));
        }
        self.fill('0', width - digits.len());
        self.0.push_str(&digits);
        Ok(())
    }

    pub(super) fn text(&mut self, name: &'static str, value: &str, width: usize) -> Result<(), FormatError> {
        if value.len() > width {
            return Err(FormatError::TooLong(name));
        }
        if !is_text(value.as_bytes()) {
            return Err(FormatError::Field(name));
        }
        self.0.push_str(value);
        self.fill(' ', width - value.len());
        Ok(())
    }

    pub(super) fn fill(&mut self, with: char, width: usize) {
        self.0.extend(std::iter::repeat_n(with, width));
    }

    pub(super) fn end_line(&mut self) {
        self.0.push('\n');
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// Reads fields.
#[derive(Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take(&mut self, width: usize) -> Result<&'a [u8], FormatError> {
        let (field, rest) = self.0.split_at_checked(width).ok_or(FormatError::Ends)?;
        self.0 = rest;
        Ok(field)
    }

    pub(super) fn number(&mut self, name: &'static str, width: usize) -> Result<u64, FormatError> {
        let mut value: u64 = 0;
        for byte in self.take(width)? {
            if !byte.is_ascii_digit() {
                return Err(FormatError::Field(name));
            }
            value = value
                .checked_mul(10)
                .and_then(|value| value.checked_add((byte - b'0').into()))
                .ok_or(FormatError::Field(name))?;
        }
        Ok(value)
    }

    pub(super) fn number_as<T: TryFrom<u64>>(
        &mut self,
        name: &'static str,
        width: usize,
    ) -> Result<T, FormatError> {
        T::try_from(self.number(name, width)?).map_err(|_| FormatError::Field(name))
    }

    pub(super) fn text(&mut self, name: &'static str, width: usize) -> Result<&'a str, FormatError> {
        let field = self.take(width)?;
        let end = field.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
        let text = &field[..end];
        if !is_text(text) {
            return Err(FormatError::Field(name));
        }
        std::str::from_utf8(text).map_err(|_| FormatError::Field(name))
    }

    pub(super) fn filled(&mut self, name: &'static str, with: char, width: usize) -> Result<(), FormatError> {
        if self.take(width)?.iter().all(|byte| char::from(*byte) == with) {
            Ok(())
        } else {
            Err(FormatError::Field(name))
        }
    }

    pub(super) fn end_line(&mut self) -> Result<(), FormatError> {
        if self.take(1)? == b"\n" { Ok(()) } else { Err(FormatError::LineEnd) }
    }

    pub(super) fn finish(&self) -> Result<(), FormatError> {
        if self.0.is_empty() { Ok(()) } else { Err(FormatError::LineEnd) }
    }
}

// A text neither begins nor ends with the padding, so that it is read as it was written.
fn is_text(text: &[u8]) -> bool {
    let printable = text.iter().all(|byte| (b' '..=b'~').contains(byte));
    printable && text.first() != Some(&b' ') && text.last() != Some(&b' ')
}
