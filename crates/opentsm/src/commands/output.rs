//! How a command shows the reply of a role: in words, or whole as JSON.

use clap::Args;
use serde::Serialize;
use tsm_api::client::ClientError;

use super::wallet::Spoken;

/// The form of the output.
#[derive(Debug, Args)]
pub struct Output {
    /// One JSON object: the whole reply.
    #[arg(long, global = true)]
    json: bool,
}

impl Output {
    /// Shows a reply; `words` says it to people in their language.
    ///
    /// # Errors
    /// The refusal as a sentence in the same language.
    pub fn say<T: Serialize>(
        &self,
        spoken: Spoken,
        reply: Result<T, ClientError>,
        words: impl FnOnce(&T) -> String,
    ) -> Result<(), String> {
        let reply = reply.map_err(|error| spoken.refusal(&error))?;
        let text = if self.json {
            serde_json::to_string(&reply).map_err(|error| error.to_string())?
        } else {
            words(&reply)
        };
        say!("{text}");
        Ok(())
    }
}

impl Spoken {
    /// Why a role did not do it.
    pub fn refusal(self, error: &ClientError) -> String {
        let chinese = match error {
            ClientError::Refused(problem) => {
                format!("被拒绝：{}{}", problem.message_zh, problem.next_step_zh)
            }
            ClientError::NotSent(why) => format!("请求未发出：{why}"),
            ClientError::Unknown(why) => format!("尚不能确定是否完成：{why}"),
            ClientError::Unreadable { path, reason } => format!("无法读取 {path} 的应答：{reason}"),
        };
        self.choose(error.to_string(), chinese)
    }

    /// A list, a line each; what there is to say when it is empty.
    pub fn lines<T>(
        self,
        items: &[T],
        line: impl Fn(Self, &T) -> String,
        (english, chinese): (&str, &str),
    ) -> String {
        if items.is_empty() {
            return self.choose(english, chinese).to_owned();
        }
        items.iter().map(|item| line(self, item)).collect::<Vec<_>>().join("\n")
    }
}
