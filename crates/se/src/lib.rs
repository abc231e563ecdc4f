//! A software secure element: a GlobalPlatform 2.3.1 card in memory.
//!
//! [`SecureElement`] is the whole card: two interfaces, logical channels, a registry, security
//! domains with SCP02 and SCP03, content management in all its forms, and applications behind
//! the [`Applet`] trait, over a memory in which every command happens entirely or not at all.
//! [`readers`] shows it to other programs.
//!
//! The card reads no clock; its randomness and its memory driver are handed in.

pub mod applet;
pub mod applets;
pub mod card;
pub mod domain;
pub mod inspect;
pub mod memory;
pub mod open;
pub mod profile;
pub mod readers;

#[cfg(test)]
mod tests;

pub use applet::{Answer, Applet, AppletContext, DirectoryEntry, ObjectId, StoreDataBlock};
pub use card::{Interface, Randomness, SecureElement};
pub use profile::Profile;
