//! The services over real TLS on loopback, each test with free ports and stores of its own.

mod conversation;
mod server;
mod support;
