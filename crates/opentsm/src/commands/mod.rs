//! One file per command of the program.

pub mod doctor;
pub mod se;
