//! The world that proves the other crates: simulation, vectors, independent partners.

pub mod city;
pub mod pcsc;
