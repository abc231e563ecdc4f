//! The services over real TLS on loopback, each test with free ports and stores of its own.

mod conversation;
mod desk;
mod hostile;
mod opening;
mod phone;
mod provider;
mod se_tsm;
mod server;
mod support;
mod world;
