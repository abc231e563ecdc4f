//! Card procedures: straight lines over a card channel and a key service.
//!
//! A procedure is an `async fn` over [`CardChannel`] and [`tsm_keys::KeyService`] and awaits nothing
//! else, so the same text runs in process, over PC/SC, in the simulator, and behind HTTPS. It sends
//! lists of steps ahead and checks the answers afterwards; it stops at the first unexpected status word.
//! Procedures are the stretches between durable points: they touch no storage, and the flow that calls
//! them journals in between.
//!
//! | file | does |
//! | --- | --- |
//! | [`step`], [`channel`], [`direct`], [`mod@relay`], `pcsc` | steps, and the ways to a card |
//! | [`script`], [`mod@open_channel`] | lists gathered from several procedures; secure channels |
//! | [`observe`], [`plan`] | what is on the card; what is missing |
//! | [`create_domain`], [`replace_domain_keys`], [`put_signature_key`] | security domains |
//! | [`download`], [`install`], [`extradite`], [`personalise`], [`authorise`] | applications |
//! | [`opening`] | the exchanges of opening a card, put together |
//! | [`lock`], [`delete`] | their later life |
//! | [`registration`], [`write_registration`], [`synchronise`] | the SE's own data |
//! | [`purse`], [`set_default_card`] | the transit card |

pub mod authorise;
pub mod channel;
pub mod create_domain;
pub mod delete;
pub mod direct;
pub mod download;
pub mod error;
pub mod extradite;
pub mod install;
pub mod lock;
pub mod observe;
pub mod open_channel;
pub mod opening;
#[cfg(feature = "pcsc")]
pub mod pcsc;
pub mod personalise;
pub mod plan;
pub mod purse;
pub mod put_signature_key;
pub mod registration;
pub mod relay;
pub mod replace_domain_keys;
pub mod script;
pub mod set_default_card;
pub mod step;
pub mod synchronise;
pub mod write_registration;

#[cfg(test)]
mod testing;

pub use channel::{CardChannel, ChannelError};
pub use direct::{CardGone, DirectChannel, Transmit};
pub use error::{CommandName, ProcedureError};
pub use open_channel::{HandOver, OpeningChannel, SecureChannel, open_channel};
pub use relay::{RelayChannel, RelayPort, relay};
pub use script::{Answers, Command, Script, Ticket};
pub use step::{ExpectedStatus, Step};
