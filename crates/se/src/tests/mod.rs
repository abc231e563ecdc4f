//! The card as a host meets it: scripts of commands and answers over both protocols.

mod content;
mod host;
mod sessions;
