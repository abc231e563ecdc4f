//! One file per command of the program.

pub mod bench;
pub mod doctor;
pub mod se;
pub mod wallet;
