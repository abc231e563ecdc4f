//! Deleting card content (GPC 2.3.1, 11.2; P-5.8.4.2).
//!
//! A deletion counts as done when the card's 9000 to DELETE carried its MAC, or when the card proves
//! in an observation that the object is not there. 6A88 alone proves nothing: anybody can say it.

use tsm_globalplatform::commands::Delete;
use tsm_globalplatform::commands::delete::{DeleteContent, DeleteExtent};
use tsm_globalplatform::receipt::Receipt;
use tsm_iso7816::{Aid, StatusWord};

use crate::authorise::receipt;
use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::observe::{Trust, trust};
use crate::open_channel::SecureChannel;
use crate::script::{Answers, Command, Script, Ticket};

/// An object to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// The instance, load file or domain.
    pub object: Aid,
    /// Whether what depends on it goes too.
    pub extent: DeleteExtent,
    /// The data by which a delete token names itself, and the token, in delegated management.
    pub token: Option<(Vec<u8>, Vec<u8>)>,
}

impl Deletion {
    /// The object only: an instance and its data, keeping its load file (P-5.8.4.2.2.b).
    pub const fn object(object: Aid) -> Self {
        Self { object, extent: DeleteExtent::Object, token: None }
    }

    /// The object and what depends on it: a load file and its instances.
    pub const fn with_related(object: Aid) -> Self {
        Self { object, extent: DeleteExtent::ObjectAndRelated, token: None }
    }

    /// Whether what depends on the object goes too.
    pub const fn removes_related(&self) -> bool {
        match self.extent {
            DeleteExtent::Object => false,
            DeleteExtent::ObjectAndRelated => true,
        }
    }

    fn command(&self) -> Command {
        let (token_data, token) = match &self.token {
            Some((data, token)) => (Some(data.clone()), Some(token.clone())),
            None => (None, None),
        };
        let delete =
            Delete::Content(DeleteContent { aid: self.object, extent: self.extent, token_data, token });
        Command::new("DELETE", delete.to_apdu()).or(&[StatusWord::REFERENCED_DATA_NOT_FOUND])
    }
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleted {
    /// The card deleted it now.
    Now {
        /// Whose word that is.
        trust: Trust,
        /// The delete receipt, where the card makes one.
        receipt: Option<Receipt>,
    },
    /// Somebody says that it was not there (6A88); an observation has to confirm it.
    SaidToBeAbsent,
}

/// Deletions whose commands are in a script.
#[derive(Debug)]
pub struct Deleting(Ticket);

impl Deleting {
    /// Adds the commands to `script`, in order: instances before their load file.
    pub fn add(
        channel: &mut SecureChannel,
        deletions: &[Deletion],
        script: &mut Script,
    ) -> Result<Self, ProcedureError> {
        Ok(Self(channel.add(script, deletions.iter().map(Deletion::command).collect())?))
    }

    /// What became of each object, in order.
    pub fn take(
        self,
        channel: &mut SecureChannel,
        answers: &mut Answers,
    ) -> Result<Vec<Deleted>, ProcedureError> {
        let trust = trust(channel);
        let responses = channel.take(answers, &self.0)?;
        responses
            .into_iter()
            .enumerate()
            .map(|(index, response)| match response.status {
                StatusWord::REFERENCED_DATA_NOT_FOUND => Ok(Deleted::SaidToBeAbsent),
                _ => Ok(Deleted::Now { trust, receipt: receipt(answers.name(&self.0, index), &response)? }),
            })
            .collect()
    }
}

/// Deletes in one exchange.
pub async fn delete(
    card: &mut impl CardChannel,
    channel: &mut SecureChannel,
    deletions: &[Deletion],
    mut script: Script,
) -> Result<Vec<Deleted>, ProcedureError> {
    let deleting = Deleting::add(channel, deletions, &mut script)?;
    let mut answers = script.run(card).await?;
    deleting.take(channel, &mut answers)
}
