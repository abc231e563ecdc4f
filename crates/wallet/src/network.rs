//! The network module: the only way to a server (W-5.g). TLS, certificates and connections are the
//! transport's, which the program around gives; retries belong here.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tsm_api::Problem;
use tsm_api::client::{Client, ClientError};
use tsm_api::endpoint::Endpoint;

/// A server that the wallet talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Host {
    /// The SE issuer's TSM.
    SeTsm,
    /// The card issuer's TSM.
    SpTsm,
    /// The payment platform.
    Payment,
}

/// The three servers of a wallet.
#[derive(Clone)]
pub struct Network {
    /// The SE issuer's TSM.
    pub se_tsm: Client,
    /// The card issuer's TSM.
    pub sp_tsm: Client,
    /// The payment platform.
    pub payment: Client,
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NetworkError {
    /// The server said no, and why.
    #[error("{}", .0.message_en)]
    Refused(Box<Problem>),
    /// No reply came; whether the request arrived is not known.
    #[error("no response from the server ({0}); check the connection and try again")]
    NoReply(String),
    /// The reply cannot be read.
    #[error("the server's reply cannot be read; update the wallet")]
    Unreadable,
}

impl Network {
    /// Calls `endpoint` at `host`. `parameters` fill the path's braces in order; `bearer` is the
    /// session. While no reply comes the request is sent again, so it must mean the same when it
    /// arrives twice; every request of the wallet carries a number for that.
    pub async fn call<Q, R>(
        &self,
        host: Host,
        endpoint: &Endpoint<Q, R>,
        parameters: &[&str],
        bearer: Option<&str>,
        request: &Q,
    ) -> Result<R, NetworkError>
    where
        Q: Serialize + Sync,
        R: DeserializeOwned,
    {
        let client = match host {
            Host::SeTsm => &self.se_tsm,
            Host::SpTsm => &self.sp_tsm,
            Host::Payment => &self.payment,
        };
        let client = match bearer {
            Some(bearer) => client.clone().with_bearer(bearer),
            None => client.clone(),
        };
        persist(|| async { client.call(endpoint, parameters, request).await.map_err(NetworkError::from) })
            .await
    }
}

impl From<ClientError> for NetworkError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(problem) => Self::Refused(problem),
            ClientError::NotSent(reason) | ClientError::Unknown(reason) => Self::NoReply(reason),
            ClientError::Unreadable { .. } => Self::Unreadable,
        }
    }
}

/// How often a request is sent before the rider is asked.
const ATTEMPTS: u32 = 3;

async fn persist<T, F>(mut send: impl FnMut() -> F) -> Result<T, NetworkError>
where
    F: Future<Output = Result<T, NetworkError>>,
{
    let mut attempt = 1;
    loop {
        match send().await {
            Err(NetworkError::NoReply(_)) if attempt < ATTEMPTS => attempt += 1,
            reply => return reply,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn attempts_until(reply: impl Fn(u32) -> Result<(), NetworkError>) -> (Result<(), NetworkError>, u32) {
        let mut count = 0;
        let result = persist(|| {
            count += 1;
            std::future::ready(reply(count))
        })
        .now_or_never()
        .expect("the replies are ready");
        (result, count)
    }

    #[test]
    fn a_lost_reply_is_asked_for_again() {
        let lost = || Err(NetworkError::NoReply("cut".into()));
        assert_eq!(attempts_until(|count| if count < 3 { lost() } else { Ok(()) }), (Ok(()), 3));
        assert_eq!(attempts_until(|_| lost()), (lost(), 3));
    }

    /// Each cause has a prompt of its own, which says what can be done.
    ///
    /// req: W-9.3.c
    #[test]
    fn each_break_of_the_network_has_its_prompt() {
        let refusal = Problem::new(tsm_api::ProblemCode::SessionExpired);
        let causes = [
            (ClientError::NotSent("no route to the host".into()), "no response from the server"),
            (ClientError::Unknown("the connection was reset".into()), "no response from the server"),
            (
                ClientError::Unreadable { path: "/wallet/v1/lists", reason: "half of it".into() },
                "cannot be read; update",
            ),
            (ClientError::Refused(Box::new(refusal.clone())), refusal.message_en.as_str()),
        ];
        let mut prompts = std::collections::BTreeSet::new();
        for (cause, said) in causes {
            let inner = cause.to_string();
            let prompt = NetworkError::from(cause).to_string();
            assert!(prompt.contains(said), "{inner}: {prompt}");
            assert!(prompts.insert(prompt), "{inner} has a prompt of its own");
        }
    }

    #[test]
    fn a_reply_that_cannot_be_read_is_not_asked_for_again() {
        assert_eq!(attempts_until(|_| Err(NetworkError::Unreadable)), (Err(NetworkError::Unreadable), 1));
    }
}
