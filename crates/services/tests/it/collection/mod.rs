//! The collection of terminal transactions: batches and files cut, doubled, reordered, forged; what is kept
//! aside and what is missing; cards that were copied; lists on their way to terminals.

mod batches;
mod broken_lines;
mod fares;
mod files;
mod line;
mod lists;
mod suspicious;
pub mod world;
