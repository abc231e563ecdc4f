//! The card procedures over the software secure element.

mod hostile;
mod interrupted;
mod management;
mod modes;
mod opening;
mod purse;
mod relayed;
mod support;
