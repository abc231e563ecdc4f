//! Giving an application or load file to another security domain (GPC 2.3.1, 11.5.2.3.4;
//! P-5.8.4.1.1.g).

use tsm_globalplatform::commands::install::InstallForExtradition;
use tsm_globalplatform::receipt::Receipt;
use tsm_iso7816::Aid;

use crate::authorise::receipt;
use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::open_channel::SecureChannel;
use crate::script::{Answers, Command, Script, Ticket};

/// An extradition to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extradition {
    /// The application or load file.
    pub object: Aid,
    /// The domain that gets it.
    pub to: Aid,
    /// The extradition token, where the domain has delegated management; empty otherwise.
    pub token: Vec<u8>,
}

impl Extradition {
    /// The command.
    pub fn command(&self) -> Command {
        let install = InstallForExtradition {
            token: self.token.clone(),
            ..InstallForExtradition::new(self.to, self.object)
        };
        Command::new("INSTALL [for extradition]", install.to_apdu())
    }
}

/// An extradition whose command is in a script.
#[derive(Debug)]
pub struct Extraditing(Ticket);

impl Extraditing {
    /// Adds the command to `script`.
    pub fn add(
        channel: &mut SecureChannel,
        extradition: &Extradition,
        script: &mut Script,
    ) -> Result<Self, ProcedureError> {
        Ok(Self(channel.add(script, vec![extradition.command()])?))
    }

    /// Checks that the card did it; gives the receipt, where the card makes one.
    pub fn take(
        self,
        channel: &mut SecureChannel,
        answers: &mut Answers,
    ) -> Result<Option<Receipt>, ProcedureError> {
        let name = answers.name(&self.0, 0);
        receipt(name, &channel.take_one(answers, &self.0)?)
    }
}

/// Extradites in one exchange.
pub async fn extradite(
    card: &mut impl CardChannel,
    channel: &mut SecureChannel,
    extradition: &Extradition,
    mut script: Script,
) -> Result<Option<Receipt>, ProcedureError> {
    let extraditing = Extraditing::add(channel, extradition, &mut script)?;
    let mut answers = script.run(card).await?;
    extraditing.take(channel, &mut answers)
}
