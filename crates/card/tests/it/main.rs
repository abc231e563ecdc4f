//! The card procedures over the software secure element.

mod closing;
mod hostile;
mod interrupted;
mod management;
mod modes;
mod opening;
mod purchase;
mod purse;
mod relayed;
mod support;
