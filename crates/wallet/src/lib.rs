//! The wallet client: the rider's program on the phone (QB-E-019-2012; DB11/T 159.6, 9; JT/T 1059.5).
//!
//! The seven modules of W-5, none of which does I/O of its own: the network, the secure element and
//! the storage are traits that the program around it implements, so that a mobile shell, a command
//! line or the simulator can carry the same code.
//!
//! ```text
//! user interaction (the program around: command line, web page)   reports progress through `Interaction`
//!        │
//! service logic          service/      one file per operation
//!        ├── application management    applications.rs
//!        ├── SE operation              se_operation.rs  -> SecureElementAccess
//!        ├── security                  security.rs
//!        ├── storage                   storage.rs       -> WalletStorage
//!        └── network                   network.rs       -> Network
//! ```
//!
//! No APDU, password, key or full card number is ever kept (W-9.2).

pub mod applications;
pub mod interaction;
pub mod network;
pub mod se_operation;
pub mod security;
pub mod service;
pub mod storage;

pub use interaction::{Interaction, Quiet};
pub use network::{Host, Network, NetworkError};
pub use se_operation::{AccessError, OpenedChannel, SeOperation, SecureElementAccess};
pub use service::{Wallet, WalletError};
