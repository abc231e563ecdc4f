//! GlobalPlatform Card Specification 2.3.1 (GPC) and its amendments: commands, registry data,
//! secure channel protocols and signatures.
//!
//! Everything a host sends and a card answers is described here once, as types that both halves
//! use: [`commands`] holds one module per command, each of which writes the command for a host
//! and reads it for a card. The secure channels [`scp02`] and [`scp03`] have a `host` and a `card`
//! half that share types and primitives only, so that neither proves itself with its own mistakes.
//!
//! This crate holds bytes, rules and cryptography. It reads no clock, no randomness, no file and
//! no socket: challenges, counters and keys are handed in.

pub mod commands;
pub mod cplc;
pub mod dap;
pub mod diversification;
pub mod extended_resources;
pub mod key;
pub mod key_information;
pub mod life_cycle;
pub mod primitives;
pub mod privileges;
pub mod receipt;
pub mod recognition;
pub mod registry;
pub mod scp02;
pub mod scp03;
pub mod scp80;
pub mod secure_messaging;
pub mod security_level;
pub mod signature;
pub mod token;

pub use commands::CommandError;
pub use life_cycle::{
    ApplicationLifeCycle, CardLifeCycle, LifeCycle, LoadFileLifeCycle, SecurityDomainLifeCycle,
};
pub use privileges::Privileges;
pub use security_level::SecurityLevel;
