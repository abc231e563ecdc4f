//! The card procedures over the software secure element.

mod interrupted;
mod opening;
mod support;
