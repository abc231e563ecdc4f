//! The crate against published vectors and against itself: one binary, since linking is slow.

mod commands;
mod diversification;
mod scp80;
mod secure_channels;
mod signatures;
mod vectors;
