//! How a command shows the reply of a role: in words, or whole as JSON.

use clap::Args;
use serde::Serialize;
use tsm_api::client::ClientError;

/// The form of the output.
#[derive(Debug, Args)]
pub struct Output {
    /// One JSON object: the whole reply.
    #[arg(long)]
    json: bool,
}

impl Output {
    /// Shows a reply; `words` prints it for people.
    ///
    /// # Errors
    /// The refusal as a sentence.
    pub fn show<T: Serialize>(
        &self,
        reply: Result<T, ClientError>,
        words: impl FnOnce(&T),
    ) -> Result<(), String> {
        let reply = reply.map_err(|error| error.to_string())?;
        if self.json {
            println!("{}", serde_json::to_string(&reply).map_err(|error| error.to_string())?);
        } else {
            words(&reply);
        }
        Ok(())
    }
}
