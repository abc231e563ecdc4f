//! The card as a host meets it: scripts of commands and answers over both protocols.

mod applications;
mod channels;
mod content;
mod data;
mod domains;
mod host;
mod keys;
mod life_cycle;
mod robustness;
mod selection;
mod sessions;
mod space;
mod tearing;
