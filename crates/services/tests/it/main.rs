//! The services over real TLS on loopback, each test with free ports and stores of its own.

mod catalogue;
mod centre_closing;
mod clearing;
mod collection;
mod content;
mod conversation;
mod desk;
mod evidence;
mod hostile;
mod institution;
mod issuer;
mod manual_time;
mod merchants;
mod number_change;
mod opening;
mod ordered_migrations;
mod payment;
mod payment_protocol;
mod phone;
mod provider;
mod purse_card;
mod se_tsm;
mod server;
mod settlement;
mod support;
mod world;
