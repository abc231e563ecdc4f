//! The card procedures over the software secure element.

mod interrupted;
mod modes;
mod opening;
mod purse;
mod support;
