//! Installing an application instance (GPC 2.3.1, 11.5.2.3.2 and 11.5.2.3.3; P-5.8.4.1).

use tsm_globalplatform::commands::install::{
    InstallForInstall, InstallForMakeSelectable, InstallParameters, Selectability,
};
use tsm_globalplatform::privileges::Privileges;
use tsm_globalplatform::receipt::Receipt;
use tsm_iso7816::Aid;

use crate::authorise::receipt;
use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::open_channel::SecureChannel;
use crate::script::{Answers, Command, Script, Ticket};

/// An instance to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInstance {
    /// The load file.
    pub load_file: Aid,
    /// The module.
    pub module: Aid,
    /// The instance's AID.
    pub instance: Aid,
    /// Its privileges.
    pub privileges: Privileges,
    /// Its own parameters (C9).
    pub parameters: Vec<u8>,
    /// Memory that it needs: volatile and non-volatile bytes.
    pub memory: Option<(u32, u32)>,
    /// The install token, where the domain has delegated management; empty otherwise.
    pub token: Vec<u8>,
    /// When it becomes selectable.
    pub selectability: Selectability,
}

impl NewInstance {
    /// An instance that becomes selectable at once.
    pub const fn new(load_file: Aid, module: Aid, instance: Aid) -> Self {
        Self {
            load_file,
            module,
            instance,
            privileges: Privileges::NONE,
            parameters: Vec::new(),
            memory: None,
            token: Vec::new(),
            selectability: Selectability::Now,
        }
    }

    /// INSTALL as it will be sent; its signed part is what a token signs.
    pub fn install_for_install(&self) -> InstallForInstall {
        let parameters = InstallParameters {
            volatile_data: self.memory.map(|(volatile, _)| volatile),
            non_volatile_data: self.memory.map(|(_, non_volatile)| non_volatile),
            ..InstallParameters::application(self.parameters.clone())
        };
        InstallForInstall {
            selectability: self.selectability,
            parameters: parameters.to_bytes(),
            token: self.token.clone(),
            ..InstallForInstall::new(self.load_file, self.module, self.instance, self.privileges)
        }
    }

    /// The command.
    pub fn command(&self) -> Command {
        Command::new("INSTALL [for install]", self.install_for_install().to_apdu())
    }
}

/// The command that makes an installed instance selectable: what is left to do where an installation
/// stopped in between.
pub fn make_selectable(instance: Aid) -> Command {
    Command::new("INSTALL [for make selectable]", InstallForMakeSelectable::new(instance).to_apdu())
}

/// An installation whose command is in a script.
#[derive(Debug)]
pub struct Installing(Ticket);

/// What a card says after an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The receipt, where the card makes one.
    pub receipt: Option<Receipt>,
}

impl Installing {
    /// Adds the command to `script`.
    pub fn add(
        channel: &mut SecureChannel,
        command: Command,
        script: &mut Script,
    ) -> Result<Self, ProcedureError> {
        Ok(Self(channel.add(script, vec![command])?))
    }

    /// Checks that the card did it.
    pub fn take(
        self,
        channel: &mut SecureChannel,
        answers: &mut Answers,
    ) -> Result<Installed, ProcedureError> {
        let name = answers.name(&self.0, 0);
        Ok(Installed { receipt: receipt(name, &channel.take_one(answers, &self.0)?)? })
    }
}

/// Installs in one exchange.
pub async fn install(
    card: &mut impl CardChannel,
    channel: &mut SecureChannel,
    instance: &NewInstance,
    mut script: Script,
) -> Result<Installed, ProcedureError> {
    let installing = Installing::add(channel, instance.command(), &mut script)?;
    let mut answers = script.run(card).await?;
    installing.take(channel, &mut answers)
}
