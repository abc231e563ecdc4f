//! The secure channel session of a logical channel: SCP02 or SCP03, as the keys decide.

use tsm_globalplatform::secure_messaging::UnwrapError;
use tsm_globalplatform::security_level::{ResponseProtection, SecurityLevel};
use tsm_globalplatform::{scp02, scp03};
use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord};

use crate::open::registry::EntryId;

/// Where a channel stands between INITIALIZE UPDATE and the end of its session.
#[derive(Default)]
pub(crate) enum Session {
    /// No session.
    #[default]
    None,
    /// INITIALIZE UPDATE was answered.
    Started(Box<StartedSession>),
    /// The host is authenticated.
    Open(Box<OpenSession>),
}

/// A session that waits for EXTERNAL AUTHENTICATE.
pub(crate) struct StartedSession {
    /// The domain whose session it is.
    pub(crate) domain: EntryId,
    /// The domain whose keys it uses.
    pub(crate) key_holder: EntryId,
    /// The version of those keys.
    pub(crate) key_version: u8,
    /// What is expected of the host.
    pub(crate) handshake: Handshake,
}

/// A session whose host is authenticated.
pub(crate) struct OpenSession {
    /// The domain whose session it is.
    pub(crate) domain: EntryId,
    /// Its keys and state.
    pub(crate) channel: SecureChannel,
}

/// The card's half of a handshake.
pub(crate) enum Handshake {
    Scp02(scp02::card::Handshake),
    Scp03(scp03::card::Handshake),
}

/// The card's half of a session.
pub(crate) enum SecureChannel {
    Scp02(scp02::card::Session),
    Scp03(scp03::card::Session),
}

impl Session {
    /// The open session, if there is one and it is that of `domain`.
    pub(crate) fn of(&self, domain: EntryId) -> Option<&OpenSession> {
        match self {
            Self::Open(session) if session.domain == domain => Some(session),
            Self::None | Self::Started(_) | Self::Open(_) => None,
        }
    }

    /// As [`Session::of`], to be used.
    pub(crate) fn of_mut(&mut self, domain: EntryId) -> Option<&mut OpenSession> {
        match self {
            Self::Open(session) if session.domain == domain => Some(session),
            Self::None | Self::Started(_) | Self::Open(_) => None,
        }
    }
}

impl Handshake {
    /// Judges EXTERNAL AUTHENTICATE; the error is what the card answers.
    pub(crate) fn finish(self, command: &CommandApdu) -> Result<SecureChannel, StatusWord> {
        match self {
            Self::Scp02(handshake) => {
                handshake.finish(command).map(SecureChannel::Scp02).map_err(|error| error.status_word())
            }
            Self::Scp03(handshake) => {
                handshake.finish(command).map(SecureChannel::Scp03).map_err(|error| error.status_word())
            }
        }
    }
}

impl SecureChannel {
    pub(crate) fn level(&self) -> SecurityLevel {
        match self {
            Self::Scp02(session) => session.level(),
            Self::Scp03(session) => session.level(),
        }
    }

    pub(crate) fn unwrap(&mut self, command: &CommandApdu) -> Result<CommandApdu, UnwrapError> {
        match self {
            Self::Scp02(session) => session.unwrap_command(command),
            Self::Scp03(session) => session.unwrap_command(command),
        }
    }

    /// Protects the answer to the command unwrapped last; the answer to any other is left alone.
    pub(crate) fn wrap(&mut self, response: ResponseApdu) -> ResponseApdu {
        match self {
            Self::Scp02(session) => session.wrap_response(response),
            Self::Scp03(session) => session.wrap_response(response),
        }
    }

    pub(crate) fn decrypt_sensitive(&self, data: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Scp02(session) => session.decrypt_sensitive(data),
            Self::Scp03(session) => session.decrypt_sensitive(data),
        }
    }

    /// Begins an R-MAC session; false where the protocol or its options have none such.
    pub(crate) fn begin_r_mac(&mut self, protection: ResponseProtection) -> bool {
        match (self, protection) {
            (Self::Scp02(session), ResponseProtection::Mac) => session.begin_r_mac(),
            (Self::Scp02(_), ResponseProtection::None | ResponseProtection::EncryptionAndMac) => false,
            (Self::Scp03(session), protection) => session.begin_r_mac(protection),
        }
    }

    /// Ends an R-MAC session and gives the last R-MAC, where the protocol answers it.
    pub(crate) fn end_r_mac(&mut self) -> Vec<u8> {
        match self {
            Self::Scp02(session) => session.end_r_mac().to_vec(),
            Self::Scp03(session) => {
                session.end_r_mac();
                Vec::new()
            }
        }
    }
}
