//! What the roles say to each other: wire types, endpoints, message signatures and typed clients.
//!
//! A role's contract is a list of [`endpoint::Endpoint`] constants. The server routes from them,
//! the client calls them, the OpenAPI document is made from them, and a test asks every one of them
//! without authority. Wire types are not domain types: each role converts at its edge.
//!
//! This crate never decides anything: no rule of a business lives here, and nothing here reads a
//! store or a card.

pub mod clearing;
pub mod clearing_files;
pub mod clearing_transport;
pub mod client;
pub mod conversation;
pub mod endpoint;
pub mod hex_bytes;
pub mod ids;
pub mod openapi;
pub mod payment;
pub mod pki;
pub mod problem;
pub mod receipt;
pub mod se_tsm;
pub mod signature;
pub mod sp_tsm;
pub mod text;
pub mod timing;

pub use endpoint::{Access, Endpoint, Nothing, StaffRole, Verb};
pub use hex_bytes::HexBytes;
pub use problem::{Problem, ProblemCode};
