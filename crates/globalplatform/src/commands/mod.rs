//! The commands of GPC 2.3.1 chapter 11 (and of annexes D and E), one module each.
//!
//! Every command writes itself for a host with `to_apdu()` and reads itself for a card with
//! `TryFrom<&CommandApdu>`. Commands are written with the basic channel's class, without secure
//! messaging; a channel applies itself with `LogicalChannel::apply`, and a session wraps them.
//! Reading ignores the class byte and Le, because hosts differ: the card judges the class before it
//! looks for a command, and an absent Le means the same as Le 00.

use tsm_iso7816::{AidError, CommandApdu, StatusWord, tlv::TlvError};

use crate::{
    life_cycle::UnknownLifeCycle, privileges::PrivilegesLength, security_level::UnknownSecurityLevel,
};

pub mod delete;
pub mod external_authenticate;
pub(crate) mod fields;
pub mod get_data;
pub mod get_status;
pub mod initialize_update;
pub mod install;
pub mod load;
pub mod manage_channel;
pub mod put_key;
pub mod r_mac_session;
pub mod select;
pub mod set_status;
pub mod store_data;

pub use delete::Delete;
pub use external_authenticate::ExternalAuthenticate;
pub use get_data::GetData;
pub use get_status::GetStatus;
pub use initialize_update::InitializeUpdate;
pub use install::Install;
pub use load::Load;
pub use manage_channel::ManageChannel;
pub use put_key::PutKey;
pub use r_mac_session::{BeginRMacSession, EndRMacSession};
pub use select::Select;
pub use set_status::SetStatus;
pub use store_data::StoreData;

/// The proprietary class of GlobalPlatform commands on the basic channel.
pub const CLA: u8 = 0x80;
/// The interindustry class on the basic channel.
pub const CLA_INTERINDUSTRY: u8 = 0x00;

/// Why a command is not well formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Another instruction.
    #[error("instruction {found:02X} is not {expected:02X}")]
    Instruction {
        /// The instruction of the command that was to be read.
        expected: u8,
        /// The instruction found.
        found: u8,
    },
    /// P1 or P2 says something that the command does not define.
    #[error("P1 {p1:02X} and P2 {p2:02X} are not defined for this command")]
    Parameters {
        /// P1.
        p1: u8,
        /// P2.
        p2: u8,
    },
    /// The data field has a length that the command does not allow.
    #[error("the data field has {found} bytes")]
    Length {
        /// The bytes found.
        found: usize,
    },
    /// A field is cut short.
    #[error("the field `{field}` is cut short or missing")]
    Truncated {
        /// The field, in the words of the standard.
        field: &'static str,
    },
    /// Bytes stand behind the last field.
    #[error("{0} bytes stand behind the last field")]
    Trailing(usize),
    /// A field holds a value that it cannot have.
    #[error("the field `{field}` cannot have this value")]
    Value {
        /// The field, in the words of the standard.
        field: &'static str,
    },
    /// A field that should hold an AID does not.
    #[error("the field `{field}` is not an AID")]
    Aid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: AidError,
    },
    /// The data objects are malformed.
    #[error("the data objects are malformed")]
    Tlv(#[from] TlvError),
    /// The privileges are malformed.
    #[error("the privileges are malformed")]
    Privileges(#[from] PrivilegesLength),
    /// The life cycle state does not exist.
    #[error("the life cycle state does not exist")]
    LifeCycle(#[from] UnknownLifeCycle),
    /// The security level does not exist.
    #[error("the security level does not exist")]
    SecurityLevel(#[from] UnknownSecurityLevel),
}

impl CommandError {
    /// The status word a card answers.
    // GPC 2.3.1 11.1.3 and the error tables of each command.
    pub const fn status_word(&self) -> StatusWord {
        match self {
            Self::Instruction { .. } => StatusWord::INSTRUCTION_NOT_SUPPORTED,
            Self::Parameters { .. } | Self::SecurityLevel(_) => StatusWord::INCORRECT_P1_P2,
            Self::Length { .. } => StatusWord::WRONG_LENGTH,
            Self::Truncated { .. }
            | Self::Trailing(_)
            | Self::Value { .. }
            | Self::Aid { .. }
            | Self::Tlv(_)
            | Self::Privileges(_)
            | Self::LifeCycle(_) => StatusWord::WRONG_DATA,
        }
    }
}

/// Refuses any other instruction than `expected`.
fn expect_instruction(command: &CommandApdu, expected: u8) -> Result<(), CommandError> {
    if command.ins == expected {
        Ok(())
    } else {
        Err(CommandError::Instruction { expected, found: command.ins })
    }
}

/// The error for the P1 and P2 of `command`.
fn parameters_error(command: &CommandApdu) -> CommandError {
    CommandError::Parameters { p1: command.p1, p2: command.p2 }
}
