//! Personalisation in the three ways of P-5.8.4.6 (B-6.6).
//!
//! | way | who protects | how it goes |
//! | --- | --- | --- |
//! | one, pass-through | the application's own keys, held by its provider | SELECT, then the provider's commands, byte for byte |
//! | two, run-time messaging | the application's domain, asked by the application | a secure channel with the application under its domain's keys |
//! | three, through the domain | the domain | a secure channel with the domain, INSTALL \[for personalization\], STORE DATA |
//!
//! Sensitive values are [`Piece`]s: under a KEK, or a key of the key service. They become ciphertext
//! under the session's DEK inside the key service and are never in the clear here.

use tsm_globalplatform::commands::StoreData;
use tsm_globalplatform::commands::install::InstallForPersonalization;
use tsm_globalplatform::commands::store_data::{DataEncryption, DataGroup, DataStructure};
use tsm_iso7816::{Aid, CommandApdu, ResponseApdu};
use tsm_keys::transfer::WrappedValue;
use tsm_keys::{KeyHandle, KeyReference, KeyService, SessionRequest};

use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::open_channel::{SecureChannel, open_channel};
use crate::script::{Answers, Command, Script, Ticket};
use crate::step::ExpectedStatus;

/// A part of personalisation data.
#[derive(Debug, Clone)]
pub enum Piece {
    /// Bytes as they are.
    Clear(Vec<u8>),
    /// A value of another organisation, under a KEK; translated to the session's DEK.
    Sensitive {
        /// The value.
        value: WrappedValue,
        /// The KEK.
        kek: KeyReference,
    },
    /// A key of the key service, to go under the session's DEK.
    Key(KeyHandle),
    /// A key of the key service under the session's DEK, and its check value behind it.
    KeyWithCheckValue(KeyHandle),
}

/// One data group: identifier, and the pieces of its value.
#[derive(Debug, Clone)]
pub struct DataGroupTemplate {
    /// The data grouping identifier.
    pub identifier: u16,
    /// The pieces.
    pub pieces: Vec<Piece>,
}

/// One command of an application with its own format (ways one and two).
#[derive(Debug, Clone)]
pub struct CommandTemplate {
    /// CLA, INS, P1, P2.
    pub header: [u8; 4],
    /// The pieces of the data field.
    pub pieces: Vec<Piece>,
}

/// What STORE DATA says about its data (P1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreDataForm {
    /// What is encrypted under the DEK.
    pub encryption: DataEncryption,
    /// How the data is written.
    pub structure: DataStructure,
}

impl Default for StoreDataForm {
    fn default() -> Self {
        Self { encryption: DataEncryption::ApplicationDependent, structure: DataStructure::Dgi }
    }
}

/// The bytes of `pieces`, the sensitive ones under the session's DEK.
pub fn assemble(channel: &mut SecureChannel, pieces: &[Piece]) -> Result<Vec<u8>, ProcedureError> {
    let session = channel.session();
    let mut bytes = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Clear(clear) => bytes.extend(clear),
            Piece::Sensitive { value, kek } => bytes.extend(session.translate(value, kek)?),
            Piece::Key(key) => bytes.extend(session.key_for_card(key)?.ciphertext),
            Piece::KeyWithCheckValue(key) => {
                let key = session.key_for_card(key)?;
                bytes.extend(key.ciphertext);
                bytes.extend(key.check_value.0);
            }
        }
    }
    Ok(bytes)
}

/// A personalisation whose commands are in a script.
#[derive(Debug)]
pub struct Personalising(Ticket);

impl Personalising {
    /// Way three: INSTALL [for personalization] and STORE DATA, in a channel with the application's
    /// domain. Personalising the domain itself leaves INSTALL out (P-5.8.4.6.3.f).
    pub fn through_domain(
        channel: &mut SecureChannel,
        application: Aid,
        groups: &[DataGroupTemplate],
        form: StoreDataForm,
        script: &mut Script,
    ) -> Result<Self, ProcedureError> {
        let mut commands = Vec::new();
        if application != channel.domain() {
            let install = InstallForPersonalization { application };
            commands.push(Command::new("INSTALL [for personalization]", install.to_apdu()));
        }
        let groups = groups
            .iter()
            .map(|group| {
                Ok(DataGroup { identifier: group.identifier, value: assemble(channel, &group.pieces)? })
            })
            .collect::<Result<Vec<_>, ProcedureError>>()?;
        commands.extend(store_data(&groups, form, channel.command_space())?);
        Ok(Self(channel.add(script, commands)?))
    }

    /// Way two: the application's own commands, in a channel with the application under its domain's
    /// keys.
    pub fn by_application(
        channel: &mut SecureChannel,
        templates: &[CommandTemplate],
        script: &mut Script,
    ) -> Result<Self, ProcedureError> {
        let mut commands = Vec::new();
        for template in templates {
            let [cla, ins, p1, p2] = template.header;
            let data = assemble(channel, &template.pieces)?;
            commands.push(Command::new(
                "personalisation command",
                CommandApdu::new(cla, ins, p1, p2).with_data(data),
            ));
        }
        Ok(Self(channel.add(script, commands)?))
    }

    /// Checks that the card took everything; gives its answers.
    pub fn take(
        self,
        channel: &mut SecureChannel,
        answers: &mut Answers,
    ) -> Result<Vec<ResponseApdu>, ProcedureError> {
        channel.take(answers, &self.0)
    }
}

/// Way one: the provider's commands, byte for byte, to the selected application (P-5.8.4.6.1.a). No
/// key of the application is here, and none is needed.
pub async fn pass_through(
    card: &mut impl CardChannel,
    application: Aid,
    commands: Vec<CommandApdu>,
) -> Result<Vec<ResponseApdu>, ProcedureError> {
    let mut script = Script::new();
    let select = script.select(application, ExpectedStatus::success());
    let ticket =
        script.transmit_all(commands.into_iter().map(|apdu| Command::new("the provider's command", apdu)));
    let mut answers = script.run(card).await?;
    answers.take(&select)?;
    answers.take(&ticket)
}

/// Way two in two exchanges: `session` names the application, with its domain's keys.
pub async fn run_time_messaging(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    session: &SessionRequest,
    templates: &[CommandTemplate],
) -> Result<Vec<ResponseApdu>, ProcedureError> {
    let mut script = Script::new();
    let mut channel = open_channel(card, keys, session, &mut script).await?;
    let personalising = Personalising::by_application(&mut channel, templates, &mut script)?;
    let mut answers = script.run(card).await?;
    personalising.take(&mut channel, &mut answers)
}

/// Way three in one exchange of an open channel.
pub async fn personalise_through_domain(
    card: &mut impl CardChannel,
    channel: &mut SecureChannel,
    application: Aid,
    groups: &[DataGroupTemplate],
    form: StoreDataForm,
    mut script: Script,
) -> Result<(), ProcedureError> {
    let personalising = Personalising::through_domain(channel, application, groups, form, &mut script)?;
    let mut answers = script.run(card).await?;
    personalising.take(channel, &mut answers).map(drop)
}

/// STORE DATA commands for `groups`: whole groups are packed into blocks of at most `space` bytes; a
/// group that is longer than a block goes on in the next ones.
pub(crate) fn store_data(
    groups: &[DataGroup],
    form: StoreDataForm,
    space: usize,
) -> Result<Vec<Command>, ProcedureError> {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    let mut block = Vec::new();
    for group in groups {
        let bytes = group.to_bytes();
        if !block.is_empty() && block.len() + bytes.len() > space {
            blocks.push(core::mem::take(&mut block));
        }
        block.extend(bytes);
        while block.len() > space {
            let rest = block.split_off(space);
            blocks.push(core::mem::replace(&mut block, rest));
        }
    }
    if !block.is_empty() {
        blocks.push(block);
    }
    let commands = StoreData::sequence(blocks, form.encryption, form.structure)
        .ok_or_else(|| ProcedureError::Impossible("personalisation data fill 1 to 256 blocks".to_owned()))?;
    Ok(commands.iter().map(|command| Command::new("STORE DATA", command.to_apdu())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(identifier: u16, length: usize) -> DataGroup {
        DataGroup { identifier, value: vec![identifier as u8; length] }
    }

    /// req: P-5.8.4.6.3.c
    #[test]
    fn groups_are_packed_whole_and_numbered_and_the_last_block_is_flagged() {
        let groups = [group(1, 30), group(2, 30), group(3, 60), group(4, 150), group(5, 1)];
        let commands = store_data(&groups, StoreDataForm::default(), 100).unwrap();
        let blocks: Vec<_> = commands.iter().map(|command| &command.apdu).collect();
        assert_eq!(blocks.iter().map(|apdu| apdu.data.len()).collect::<Vec<_>>(), [66, 63, 100, 57]);
        assert_eq!(blocks.iter().map(|apdu| apdu.p2).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(blocks.iter().map(|apdu| apdu.p1 & 0x80).collect::<Vec<_>>(), [0, 0, 0, 0x80]);
        let all: Vec<u8> = blocks.iter().flat_map(|apdu| apdu.data.clone()).collect();
        assert_eq!(DataGroup::parse_all(&all).unwrap(), groups);
    }

    #[test]
    fn nothing_to_store_is_refused() {
        assert!(store_data(&[], StoreDataForm::default(), 100).is_err());
    }
}
