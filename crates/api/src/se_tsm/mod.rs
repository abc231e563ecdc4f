//! The SE-TSM: the secure-element issuer's trusted service manager.

pub mod migrations;
pub mod operator;
pub mod peer;
pub mod provider;
pub mod wallet;

use crate::endpoint::EndpointInfo;

/// Every endpoint of the role.
pub fn endpoints() -> Vec<EndpointInfo> {
    [
        wallet::endpoints(),
        operator::endpoints(),
        migrations::endpoints(),
        provider::endpoints(),
        peer::endpoints(),
    ]
    .concat()
}
