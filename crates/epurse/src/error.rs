//! Errors that several modules share: bytes that are not the layout, and commands that are not
//! the command.

use tsm_iso7816::StatusWord;

/// Why bytes are not the file, record, response or data grouping they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The structure has a fixed length and the bytes have another.
    #[error("{what} has {expected} bytes, not {found}")]
    Length {
        /// The structure.
        what: &'static str,
        /// Its length.
        expected: usize,
        /// The length found.
        found: usize,
    },
    /// The structure is cut short.
    #[error("{what} is cut short")]
    Short {
        /// The structure.
        what: &'static str,
    },
    /// A field holds a value that it cannot have.
    #[error("{what} cannot be {value:#X}")]
    Value {
        /// The field.
        what: &'static str,
        /// What it holds.
        value: u32,
    },
    /// The checksum at the structure's end does not fit its content.
    #[error("the checksum of {what} is wrong")]
    Checksum {
        /// The structure.
        what: &'static str,
    },
    /// A part that must be there is not, or is there twice.
    #[error("{what} is missing or stands more than once")]
    Count {
        /// The part.
        what: &'static str,
    },
}

/// Why a command APDU is not the command that its parser reads. Each has a status word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Another class.
    #[error("the class byte {0:02X} is not this command's")]
    Class(u8),
    /// Another instruction.
    #[error("the instruction byte {0:02X} is not this command's")]
    Instruction(u8),
    /// P1 or P2 has a value that the command does not know.
    #[error("P1 {0:02X} and P2 {1:02X} mean nothing to this command")]
    Parameters(u8, u8),
    /// The data field has the wrong length.
    #[error("the data field of {found} bytes has the wrong length")]
    Length {
        /// The length found.
        found: usize,
    },
    /// The data field holds a value that it cannot have.
    #[error("the data field holds an impossible value")]
    Data,
}

impl CommandError {
    /// What the card answers.
    pub const fn status_word(self) -> StatusWord {
        match self {
            Self::Class(_) => StatusWord::CLASS_NOT_SUPPORTED,
            Self::Instruction(_) => StatusWord::INSTRUCTION_NOT_SUPPORTED,
            Self::Parameters(..) => StatusWord::INCORRECT_P1_P2,
            Self::Length { .. } => StatusWord::WRONG_LENGTH,
            Self::Data => StatusWord::WRONG_DATA,
        }
    }
}

impl From<CommandError> for StatusWord {
    fn from(error: CommandError) -> Self {
        error.status_word()
    }
}
