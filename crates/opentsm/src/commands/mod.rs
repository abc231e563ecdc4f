//! One file per command of the program.

pub mod bench;
pub mod books;
pub mod centre;
mod clerks;
pub mod desk;
pub mod doctor;
pub mod explain;
pub mod load;
pub mod output;
pub mod receipt;
pub mod se;
pub mod serve;
pub mod shop;
pub mod terminal;
pub mod up;
pub mod wallet;
