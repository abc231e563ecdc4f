//! Serving a role's endpoints over TLS.
//!
//! ```text
//! listener -> TLS (peer certificate) -> HTTP/1.1 -> request id, timing, panic guard
//!          -> endpoint -> who calls? -> may it? -> body -> handler -> reply or problem
//! ```
//!
//! Only what an [`Endpoint`](tsm_api::Endpoint) declares is routed; everything else is refused.

mod idle;
mod in_process;
mod listener;
mod peer;
mod routes;
pub(crate) mod waiting_room;

pub use in_process::InProcess;
pub use listener::{Server, ServerLimits, serve};
pub use peer::{Peer, PeerGate};
pub use routes::{Asked, Call, Credentials, ReplySeal, Routes, Service};
