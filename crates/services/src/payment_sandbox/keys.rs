//! The keys with which the platform signs now, for merchants.

use std::sync::Arc;

use tsm_api::endpoint::Nothing;
use tsm_api::payment::PlatformKeys;
use tsm_api::problem::{Problem, ProblemCode};

use super::PaymentSandbox;
use super::access::Caller;
use crate::payment::message::MessageKeyError;
use crate::server::Call;

/// Gives the public keys, newest last.
pub(super) async fn platform_keys(
    sandbox: Arc<PaymentSandbox>,
    call: Call<Caller, Nothing>,
) -> Result<PlatformKeys, Problem> {
    call.caller.merchant()?;
    sandbox.public_keys().map_err(|_| ProblemCode::Internal.into())
}

impl PaymentSandbox {
    /// The public keys, newest last; what a merchant is given when it registers.
    pub fn public_keys(&self) -> Result<PlatformKeys, MessageKeyError> {
        let keys = self.own_keys.all();
        let keys =
            keys.iter().map(|key| key.registered().map(|key| key.to_wire())).collect::<Result<_, _>>()?;
        Ok(PlatformKeys { keys })
    }
}
